//go:build unix

package testservers_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/testservers"
)

const askForPostgres = "TENANTRY_TEST_ASK_FOR_POSTGRES"

// TestPostgres_SaidToBeMissing_IsSoughtNoFurther runs this test in processes of its own, which ask for a server.
func TestPostgres_SaidToBeMissing_IsSoughtNoFurther(t *testing.T) {
	if os.Getenv(askForPostgres) != "" {
		t.Logf("there is one: %s", testservers.Postgres(t))
		return
	}
	for require, want := range map[string]string{"0": "--- SKIP", "1": "--- FAIL"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
		for _, e := range os.Environ() { // without a server that is there already
			if name, _, _ := strings.Cut(e, "="); name != testservers.PostgresEnv {
				cmd.Env = append(cmd.Env, e)
			}
		}
		cmd.Env = append(cmd.Env, askForPostgres+"=1", "REQUIRE_SERVICES="+require, testservers.PostgresMissingEnv+"=nobody could install it")
		out, err := cmd.CombinedOutput()
		if (err != nil) != (require == "1") || !strings.Contains(string(out), want) || !strings.Contains(string(out), "nobody could install it") {
			t.Errorf("with REQUIRE_SERVICES=%s: %v, want %s with the reason: %s", require, err, want, out)
		}
	}
}

func TestFindPostgres_VersionThatIsAskedFor_IsTheServers(t *testing.T) {
	version := os.Getenv(testservers.PostgresVersionEnv)
	if version == "" {
		dir, err := testservers.FindPostgres(t.Context())
		if err != nil {
			testservers.Missing(t, "PostgreSQL", err)
		}
		_, after, debian := strings.Cut(dir, "/usr/lib/postgresql/")
		if !debian {
			t.Skipf("nothing tells the version of %s: set %s", dir, testservers.PostgresVersionEnv)
		}
		version, _, _ = strings.Cut(after, "/")
		t.Setenv(testservers.PostgresVersionEnv, version)
	}
	s := startPostgres(t, testservers.PostgresConfig{})
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	var got string
	if err := conn.QueryRow(t.Context(), "SHOW server_version").Scan(&got); err != nil || !strings.HasPrefix(got, version+".") {
		t.Errorf("the server is PostgreSQL %q, %v, want %s", got, err, version)
	}
}

func TestFindPostgres_VersionThatThereIsNot_SaysWhichThereAre(t *testing.T) {
	t.Setenv(testservers.PostgresVersionEnv, "9")
	if _, err := testservers.FindPostgres(t.Context()); err == nil || !strings.Contains(err.Error(), "14, 15, 16, 17, 18") {
		t.Errorf("got %v, want an error that names 14 to 18", err)
	}
}
