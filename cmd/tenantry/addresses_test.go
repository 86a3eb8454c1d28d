package main

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/tenantry/tenantry/internal/daemon"
)

// announce leaves the file by which a dev is found.
func announce(t *testing.T, dir string, pid int, admin string, regions map[string]string) {
	t.Helper()
	b, err := json.Marshal(daemon.Addresses{PID: pid, Admin: admin, Regions: regions})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, daemon.AddressFile), string(b))
}

// dead is the ID of a process that has ended.
func dead(t *testing.T) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func TestCommands_GivenADevThatWasKilled_SayThatItIsNotRunning(t *testing.T) {
	server := httptest.NewServer(answering(200, "application/json", `{}`)) // another program has its port by now
	defer server.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for what, c := range map[string]struct {
		pid   int
		admin string
	}{
		"its process is gone":                 {dead(t), server.URL},
		"its process ID is another program's": {os.Getpid(), gone.URL},
		"it has no process ID":                {0, server.URL},
		"its address is none":                 {os.Getpid(), "http://%"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			announce(t, dir, c.pid, c.admin, map[string]string{"eu-west": server.URL})
			for _, args := range []string{"status", "lookup a.example", "tenant list", "export", "import -"} {
				flag := "--admin"
				if args == "status" || args == "lookup a.example" {
					flag = "--query"
				}
				tenantry(t, append(strings.Fields(args), "--data-dir", dir)...).exits(exitFailed,
					"dev is not running (", filepath.Join(dir, daemon.AddressFile)+" is left over from pid ", "name another server with "+flag+" or --data-dir\n")
			}
			// Where the directory is nobody's choice, a file that was left there is told of too.
			t.Chdir(filepath.Dir(dir))
			if err := os.Rename(dir, "tenantry-data"); err != nil {
				t.Fatal(err)
			}
			tenantry(t, "status").exits(exitFailed, "dev is not running (tenantry-data/tenantry.json is left over")
			// And a server that is named is asked.
			tenantry(t, "status", "--query", server.URL).exits(exitFailed, "is not ready")
		})
	}
}

func TestCommands_GivenTheOtherAPIsURL_SayWhichOneItIs(t *testing.T) {
	d, dir := openDev(t)
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", dir).exits(exitPartial)
	ready(t, d)
	admin, query := d.Addresses().Admin, d.Addresses().Regions["eu-west"]
	for _, args := range []string{"status", "lookup acme.example", "lookup acme.example www.acme.example --output json"} {
		tenantry(t, append(strings.Fields(args), "--query", admin)...).
			exits(exitFailed, admin+" is an admin API: give the URL of a query API with --query\n")
	}
	for _, args := range []string{"export", "import -", "tenant list", "tenant show ten_acme", "tenant show ten_nobody", "tenant events ten_acme"} {
		tenantry(t, append(strings.Fields(args), "--admin", query)...).
			exits(exitFailed, query+" is a query API: give the URL of the admin API with --admin\n")
	}
	// What is neither of the two is shown as it answers.
	server := httptest.NewServer(answering(404, "application/problem+json", `{"type":"https://tenantry.dev/problems/no-such-route","title":"Nothing here","status":404}`))
	defer server.Close()
	tenantry(t, "export", "--admin", server.URL).exits(exitFailed, "tenantry: Nothing here\n")
}

func TestCommands_GivenADirectoryWithoutADev_SaySo(t *testing.T) {
	dir := t.TempDir()
	tenantry(t, "status", "--data-dir", dir).exits(exitFailed, "no dev is running on "+dir)
	t.Setenv("TENANTRY_DATA_DIR", dir)
	tenantry(t, "status").exits(exitFailed, "no dev is running on "+dir)
	writeFile(t, filepath.Join(dir, daemon.AddressFile), `{"pid":1}`)
	tenantry(t, "status").exits(exitFailed, "does not say where dev answers")
	for _, garbage := range []string{"", "{", "\x00\x01", `{"pid":"one"}`} {
		writeFile(t, filepath.Join(dir, daemon.AddressFile), garbage)
		tenantry(t, "status").exits(exitFailed, "tenantry: "+filepath.Join(dir, daemon.AddressFile)+" is damaged: delete it, or start 'tenantry dev --data-dir "+dir+"', which writes it anew\n")
	}
}
