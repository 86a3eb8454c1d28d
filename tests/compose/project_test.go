package compose

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// root is the repository's.
const root = "../.."

// load reads compose.yaml as Compose does in an environment.
func load(t *testing.T, environment map[string]string) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	p, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "compose.yaml")}},
		Environment: environment,
	})
	if err != nil {
		t.Fatalf("compose.yaml: %v", err)
	}
	return p
}

// ours tells whether a service runs our image.
func ours(s types.ServiceConfig) bool { return strings.HasPrefix(s.Image, "tenantry:") }

// names are a project's services, in order.
func names(p *types.Project) []string { return slices.Sorted(maps.Keys(p.Services)) }

// environmentOf is what a service sets.
func environmentOf(s types.ServiceConfig) map[string]string {
	out := make(map[string]string)
	for name, value := range s.Environment {
		if value != nil {
			out[name] = *value
		}
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
