package main

import (
	"net/http/httptest"
	"testing"

	"github.com/tenantry/tenantry/internal/testservers"
)

func TestServers_WithoutWhatTheyNeed_NameEachSettingThatIsMissing(t *testing.T) {
	tenantry(t, "catalogue").exits(exitUsage, "--database-url is missing", "TENANTRY_DATABASE_URL", "--kafka-brokers is missing")
	tenantry(t, "region").exits(exitUsage, "--region is missing", "--kafka-brokers is missing", "--source is missing")
	tenantry(t, "migrate").exits(exitUsage, "--database-url is missing")
	tenantry(t, "region", "--source", "ftp://x").exits(exitUsage, "it is not a URL such as http://catalogue.example:8080 or postgres://")
}

func TestConfigCheck_OfASettingThatIsAnotherThingToOtherCommands_TakesEither(t *testing.T) {
	one := file(t, "region.yaml", "region: eu-west\nlisten: 127.0.0.1:9\n")
	tenantry(t, "config", "check", "--config", one).exits(exitDone)
	tenantry(t, "config", "print", "--config", one).exits(exitDone).prints("region:", "eu-west", "(region)")
	// Two names are neither a list of addresses nor one name.
	tenantry(t, "config", "check", "--config", file(t, "both.yaml", "region:\n  - eu-west\n  - us-east\n")).exits(exitUsage, "both.yaml, line 2: region")
}

func TestConfigPrint_OfADatabaseURL_MasksItsPassword(t *testing.T) {
	for _, url := range []string{"postgres://ada:hunter2@db.example/tenantry", "postgres://ada@db.example/tenantry?sslmode=require&password=hunter2"} {
		t.Setenv("TENANTRY_DATABASE_URL", url)
		r := tenantry(t, "config", "print").exits(exitDone).prints("db.example/tenantry")
		r.hides("hunter2")
	}
	t.Setenv("TENANTRY_DATABASE_URL", "postgres://ada:hun%zzter2@db.example/tenantry")
	tenantry(t, "config", "check").exits(exitUsage, "percent-encoded").hides("ter2")
}

func TestHealth_IsWhatTheServerSays(t *testing.T) {
	good := httptest.NewServer(answering(200, "text/plain", "[+]store ok\nready\n"))
	defer good.Close()
	tenantry(t, "health", good.URL).exits(exitDone).prints("ready\n")
	bad := httptest.NewServer(answering(503, "text/plain", "[-]store: away\nnot ready\n"))
	defer bad.Close()
	tenantry(t, "health", bad.URL).exits(exitFailed, "is not ready").prints("[-]store: away\n")
	tenantry(t, "health", "http://127.0.0.1:1").exits(exitFailed, "no answer from http://127.0.0.1:1")
	tenantry(t, "health").exits(exitUsage, "give the server's address")
}

func TestMigrate_PrintsThenApplies_AndAgainChangesNothing(t *testing.T) {
	url := testservers.Database(t)
	tenantry(t, "catalogue", "--database-url", url, "--kafka-brokers", "127.0.0.1:1", "--listen", "127.0.0.1:0").exits(exitFailed, "tenantry migrate")
	tenantry(t, "migrate", "--database-url", url, "--dry-run").exits(exitDone).prints("CREATE TABLE tenantry.events")
	tenantry(t, "migrate", "--database-url", url).exits(exitDone, "schema migrated").prints("done: ")
	tenantry(t, "migrate", "--database-url", url).exits(exitDone).prints("nothing to do")
}
