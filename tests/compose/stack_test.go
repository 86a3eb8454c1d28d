package compose

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/tenantry/tenantry/internal/testservers"
)

// stack is compose.yaml, running as processes.
type stack struct {
	t         *testing.T
	project   *types.Project
	image     image
	secrets   string            // a directory
	addresses map[string]string // service:port ─▶ where it is here
	running   map[string]*service
}

// service is one that runs here as a process.
type service struct {
	*process
	types.ServiceConfig
	replace *strings.Replacer
	root    string // what it sees as the whole file system; "": ours
	uid     int
	gid     int
}

// passwords are such that nobody may quote them carelessly.
var passwords = map[string]string{
	"postgres_password": "postgres",
	"owner_password":    `own'er $1 "%s"\`,
	"writer_password":   `wri/ter ?&=#@ pass`,
	"reader_password":   `réader 'x' -- `,
}

// start starts every service in the order that depends_on says, each when those before it are as
// it says.
func start(t *testing.T) *stack {
	t.Helper()
	st := &stack{t: t, image: filesOfImage(t), secrets: t.TempDir(), addresses: make(map[string]string), running: make(map[string]*service)}
	for name, password := range passwords {
		if err := os.WriteFile(filepath.Join(st.secrets, name), []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	st.project = load(t, map[string]string{"TENANTRY_SECRETS": st.secrets})
	findNginx(t) // before anything is started in vain
	left := names(st.project)
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(name string) bool {
			for before := range st.project.Services[name].DependsOn {
				if slices.Contains(left, before) {
					return false
				}
			}
			return true
		})
		if i < 0 {
			t.Fatalf("services wait for one another: %v", left)
		}
		st.start(st.project.Services[left[i]])
		left = slices.Delete(left, i, i+1)
	}
	return st
}

// start starts a service, and returns when it is as those behind it may want it.
func (st *stack) start(s types.ServiceConfig) {
	st.t.Helper()
	switch {
	case s.Name == "postgres":
		st.addresses["postgres:5432"] = startPostgres(st.t, st.project, st.secrets)
	case s.Name == "kafka":
		st.addresses["kafka:9092"] = startKafka(st.t, s)
	case s.Name == "catalogue":
		p, address := startGateway(st.t, st.project, map[string]string{
			"catalogue-1": st.addresses["catalogue-1:8080"], "catalogue-2": st.addresses["catalogue-2:8080"],
		})
		st.addresses["catalogue:8080"] = address
		st.running[s.Name] = &service{process: p, ServiceConfig: s, replace: strings.NewReplacer("127.0.0.1:8080", address)}
	case ours(s):
		st.running[s.Name] = st.launch(s)
	default:
		st.t.Fatalf("compose.yaml has a service %s, which this test does not know", s.Name)
	}
	if r := st.running[s.Name]; r != nil {
		st.awaitCondition(r)
	}
}

// launch starts one of ours. As root it sees the image alone.
func (st *stack) launch(s types.ServiceConfig) *service {
	t := st.t
	t.Helper()
	r := &service{ServiceConfig: s}
	var pairs []string
	for from, to := range st.addresses {
		pairs = append(pairs, from, to)
	}
	if port := portOf(s); port != "" {
		at := freeAddress(t)
		st.addresses[s.Name+":"+port] = at
		pairs = append(pairs, "0.0.0.0:"+port, at, "127.0.0.1:"+port, at)
	}
	if os.Geteuid() == 0 && runtime.GOOS == "linux" {
		r.uid, r.gid = userOf(t, s.User)
		r.root = st.fileSystem(s, r.uid, r.gid)
	} else {
		for _, v := range s.Volumes {
			pairs = append(pairs, v.Target, t.TempDir())
		}
		for _, secret := range s.Secrets {
			pairs = append(pairs, "/run/secrets/"+secret.Source, st.project.Secrets[secret.Source].File)
		}
	}
	r.replace = strings.NewReplacer(pairs...)
	cmd := r.command(context.WithoutCancel(t.Context()), st.image, append(slices.Clone(st.image.entrypoint), s.Command...))
	r.process = launch(t, s.Name, cmd)
	return r
}

// portOf is the one that a service of ours listens on.
func portOf(s types.ServiceConfig) string {
	_, port, _ := strings.Cut(environmentOf(s)["TENANTRY_LISTEN"], ":")
	return port
}

// command is one of the service's own program, in its environment and place.
func (r *service) command(ctx context.Context, i image, argv []string) *exec.Cmd {
	var args []string
	for _, a := range argv[1:] {
		args = append(args, r.replace.Replace(a))
	}
	cmd := exec.CommandContext(ctx, i.program, args...)
	cmd.Env = []string{} // and nothing of ours
	for name, value := range environmentOf(r.ServiceConfig) {
		cmd.Env = append(cmd.Env, name+"="+r.replace.Replace(value))
	}
	slices.Sort(cmd.Env)
	if r.root != "" {
		cmd.Path, cmd.Dir = argv[0], "/"
		confine(cmd, r.root, r.uid, r.gid)
	}
	return cmd
}

// fileSystem makes what a service's container has: the image, its volumes, its secrets and its
// tmpfs. Only volumes and tmpfs are its user's to write to.
func (st *stack) fileSystem(s types.ServiceConfig, uid, gid int) string {
	t := st.t
	t.Helper()
	root, err := os.MkdirTemp(scratch, s.Name+"-")
	if err != nil {
		t.Fatal(err)
	}
	dirs := []string{root, filepath.Join(root, "run"), filepath.Join(root, "run", "secrets")}
	var its []string
	for _, v := range s.Volumes {
		its = append(its, filepath.Join(root, v.Target))
	}
	for _, fs := range s.Tmpfs {
		path, _, _ := strings.Cut(fs, ":")
		its = append(its, filepath.Join(root, path))
	}
	for _, dir := range append(dirs, its...) {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range its {
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	place := func(from, to string, mode os.FileMode) {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(root, to), b, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	place(st.image.program, "/tenantry", 0o755)
	for _, secret := range s.Secrets {
		place(st.project.Secrets[secret.Source].File, "/run/secrets/"+secret.Source, 0o644)
	}
	return root
}

func userOf(t *testing.T, user string) (uid, gid int) {
	t.Helper()
	u, g, _ := strings.Cut(user, ":")
	uid, errU := strconv.Atoi(u)
	gid, errG := strconv.Atoi(g)
	if err := errors.Join(errU, errG); err != nil {
		t.Fatalf("user %q is not of numbers, and the image has no names: %v", user, err)
	}
	return uid, gid
}

// awaitCondition waits until a service is what those that depend on it want.
func (st *stack) awaitCondition(r *service) {
	t := st.t
	t.Helper()
	if r.HealthCheck == nil { // it has to have done its work
		<-r.ended
		if code := r.cmd.ProcessState.ExitCode(); code != 0 {
			t.Fatalf("%s: exit code %d", r.Name, code)
		}
		return
	}
	until(t, r.Name+" is healthy", func(ctx context.Context) error {
		err := st.healthy(ctx, r)
		select {
		case <-r.ended:
			return &neverError{errors.New("it has ended")}
		default:
			return err
		}
	})
}

// healthy runs a service's health check.
func (st *stack) healthy(ctx context.Context, r *service) error {
	test := r.HealthCheck.Test[1:] // behind CMD
	var cmd *exec.Cmd
	if ours(r.ServiceConfig) {
		cmd = r.command(ctx, st.image, test)
	} else {
		var args []string
		for _, a := range test[1:] {
			args = append(args, r.replace.Replace(a))
		}
		cmd = exec.CommandContext(ctx, test[0], args...)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
	}
	return nil
}

// startPostgres starts a server that asks for passwords, has deploy/postgres-roles.sh make the
// roles as the image does, and returns its address.
func startPostgres(t *testing.T, p *types.Project, secrets string) string {
	t.Helper()
	if _, err := exec.LookPath("psql"); err != nil {
		testservers.Missing(t, "psql", err)
	}
	testservers.Postgres(t) // skips the test where there is none
	server, err := testservers.StartPostgres(t.Context(), testservers.PostgresConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Errorf("stop PostgreSQL: %v", err)
		}
	})
	port := strconv.Itoa(server.Port())
	psql := func(name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(os.Environ(), "SECRETS="+secrets, "PGHOST=127.0.0.1", "PGPORT="+port, "PGUSER=postgres", "PGDATABASE=postgres")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
	}
	s := p.Services["postgres"]
	if len(s.Configs) != 1 || !strings.HasPrefix(s.Configs[0].Target, "/docker-entrypoint-initdb.d/") || !strings.HasSuffix(s.Configs[0].Target, ".sh") {
		t.Fatalf("the image does not run %+v", s.Configs)
	}
	for _, secret := range []string{"postgres_password", "owner_password", "writer_password", "reader_password"} {
		if !slices.ContainsFunc(s.Secrets, func(r types.ServiceSecretConfig) bool { return r.Source == secret }) {
			t.Errorf("postgres is not given %s", secret)
		}
	}
	psql("/bin/sh", p.Configs[s.Configs[0].Source].File)
	hba := "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(server.Dir(), "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		t.Fatal(err)
	}
	psql("psql", "-c", "SELECT pg_reload_conf()")
	return "127.0.0.1:" + port
}

// ofItsPlace are Kafka's settings that say where it is.
var ofItsPlace = []string{
	"node.id", "process.roles", "controller.quorum.voters", "listeners", "advertised.listeners", "controller.listener.names",
	"listener.security.protocol.map", "log.dirs", "heap.opts",
}

// startKafka starts a broker with the settings that the service has, and returns its address.
func startKafka(t *testing.T, s types.ServiceConfig) string {
	t.Helper()
	settings := make(map[string]string)
	for name, value := range environmentOf(s) {
		property, ok := strings.CutPrefix(name, "KAFKA_")
		if property = strings.ToLower(strings.ReplaceAll(property, "_", ".")); ok && !slices.Contains(ofItsPlace, property) {
			settings[property] = value
		}
	}
	if len(settings) < 5 {
		t.Fatalf("got settings %v of Kafka: the test does not read them right", settings)
	}
	environment := environmentOf(s)
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`).MatchString(environment["CLUSTER_ID"]) {
		t.Errorf("Kafka's cluster ID is %q, want a UUID in base64", environment["CLUSTER_ID"])
	}
	if at := environment["KAFKA_ADVERTISED_LISTENERS"]; at != "PLAINTEXT://kafka:9092" {
		t.Errorf("Kafka tells its clients to come to %s, and they are told kafka:9092", at)
	}
	return testservers.NewKafka(t, testservers.KafkaOptions{Settings: settings}).Brokers(testservers.Plaintext)[0]
}

// stop stops every server, those first that depend on others.
func (st *stack) stop() {
	for _, names := range [][]string{{"eu-west-1", "eu-west-2", "us-east-1", "us-east-2"}, {"catalogue"}, {"catalogue-1", "catalogue-2"}} {
		for _, name := range names {
			if r, ok := st.running[name]; ok {
				r.stop(signalOf(r.ServiceConfig), stopTime)
				delete(st.running, name)
			}
		}
	}
	delete(st.running, "migrate")
	if len(st.running) > 0 {
		st.t.Errorf("not stopped: %v", slices.Collect(maps.Keys(st.running)))
	}
}

func signalOf(s types.ServiceConfig) syscall.Signal {
	if s.StopSignal == "SIGQUIT" {
		return syscall.SIGQUIT
	}
	return syscall.SIGTERM
}
