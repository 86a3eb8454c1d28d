// Package compose holds compose.yaml, the Dockerfile and deploy/ to be what they say, on a machine
// that has no Docker: the file is read as Compose reads it, the program is built by the Dockerfile's
// own command from what .dockerignore lets through, and the very command and environment of each
// service is started as a process, against a real PostgreSQL, a real Kafka and a real nginx.
//
// As root on Linux, a process of ours sees the image's file system alone, as the user that it runs
// as in a container: so what the program would miss there is missed here. Anyone else runs it with
// the paths of volumes and secrets put in place of the container's.
//
// Not held: what images of others make of their environment, and what Docker itself does.
package compose
