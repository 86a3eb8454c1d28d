// Package crashpoint names the moments at which a crash would be worst, so that a test can have
// the program die at just these: before and after a commit, between a produce and what is
// remembered of it, in the middle of a swap.
//
// In the programs that we ship a point is nothing: [Hit] is an empty function, which the compiler
// leaves out. In a build with the tag crashpoints (go build -tags crashpoints) the environment
// variable TENANTRY_CRASHPOINT=NAME:N kills the process with SIGKILL, as kill -9 would, when it comes
// to the point NAME for the Nth time.
package crashpoint
