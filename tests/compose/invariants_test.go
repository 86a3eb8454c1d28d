package compose

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// stopTime is how long a server may take to stop, as docs/operations.md says.
const stopTime = 10 * time.Second

func TestCompose_EveryService_IsConfinedAndComesBackByItself(t *testing.T) {
	p := load(t, nil)
	for _, name := range names(p) {
		s := p.Services[name]
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.Privileged {
			t.Errorf("%s drops %v and adds %v: it needs no capability", name, s.CapDrop, s.CapAdd)
		}
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may gain privileges", name)
		}
		// Kafka's image writes its settings into itself, and is no root's by itself.
		if name != "kafka" && (!s.ReadOnly || strings.HasPrefix(s.User, "0") || s.User == "" || s.User == "root") {
			t.Errorf("%s: read_only %t, user %q: want a read-only file system and a user that is not root", name, s.ReadOnly, s.User)
		}
		if s.NetworkMode == "host" || s.Pid != "" || s.Ipc != "" {
			t.Errorf("%s shares something of the host", name)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes port %s on %q: there is no authentication", name, port.Published, port.HostIP)
			}
		}
		if name == "migrate" {
			if s.Restart != types.RestartPolicyNo {
				t.Errorf("migrate restarts %q: it is done once", s.Restart)
			}
			continue
		}
		if s.Restart != types.RestartPolicyUnlessStopped {
			t.Errorf("%s restarts %q", name, s.Restart)
		}
		if s.HealthCheck == nil || s.HealthCheck.Disable || len(s.HealthCheck.Test) < 2 || s.HealthCheck.Test[0] != "CMD" {
			t.Errorf("%s has no health check that needs no shell: %+v", name, s.HealthCheck)
		}
	}
}

// Compose copies what is not a file into the container before it starts, which a read-only one
// does not let happen.
func TestCompose_ConfigsAndSecrets_AreFilesThatAreThere(t *testing.T) {
	p := load(t, nil)
	var files []types.FileObjectConfig
	for _, c := range p.Configs {
		files = append(files, types.FileObjectConfig(c))
	}
	for _, s := range p.Secrets {
		files = append(files, types.FileObjectConfig(s))
	}
	if len(files) != 6 {
		t.Errorf("got %d configs and secrets, want 6", len(files))
	}
	for _, f := range files {
		info, err := os.Stat(f.File)
		if err != nil || f.Content != "" || f.Environment != "" {
			t.Errorf("%s is %+v: %v", f.Name, f, err)
			continue
		}
		// Compose binds it as it is: another user has to read it.
		if info.Mode().Perm()&0o044 != 0o044 {
			t.Errorf("%s has mode %v: the services' users cannot read it", f.File, info.Mode())
		}
	}
	other := load(t, map[string]string{"TENANTRY_SECRETS": "/elsewhere"})
	for name, s := range other.Secrets {
		if s.File != "/elsewhere/"+name {
			t.Errorf("with TENANTRY_SECRETS=/elsewhere, %s is %s", name, s.File)
		}
	}
}

func TestCompose_EveryVariableOfOurServices_IsASettingOfTheirCommand(t *testing.T) {
	p := load(t, nil)
	program := filesOfImage(t).program
	services := 0
	for _, name := range names(p) {
		s := p.Services[name]
		if !ours(s) {
			continue
		}
		services++
		check := exec.CommandContext(t.Context(), program, "config", "check")
		help := exec.CommandContext(t.Context(), program, append(slices.Clone(s.Command), "--help")...)
		for name, value := range environmentOf(s) {
			check.Env = append(check.Env, name+"="+value)
		}
		out, err := check.CombinedOutput()
		if err != nil || strings.Contains(string(out), "is no setting") {
			t.Errorf("%s: config check: %v\n%s", name, err, out)
		}
		flags, err := help.Output()
		if err != nil {
			t.Errorf("%s: --help: %v", name, err)
		}
		for variable := range environmentOf(s) {
			flag := "--" + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, "TENANTRY_"), "_", "-")) + " "
			if !strings.Contains(string(flags), flag) {
				t.Errorf("%s sets %s, and its command has no %s", name, variable, flag)
			}
		}
		if limit := time.Duration(*s.StopGracePeriod); limit <= stopTime {
			t.Errorf("%s is killed after %v, and may take %v to stop", name, limit, stopTime)
		}
	}
	if services != 7 {
		t.Errorf("got %d services of ours, want 7: migrate, 2 catalogues, 2 nodes of 2 regions", services)
	}
}

func TestCompose_EachNode_HasItsOwnVolumeAndPort(t *testing.T) {
	p := load(t, nil)
	volumes, ports, nodes := make(map[string]string), make(map[string]string), make(map[string]int)
	for _, name := range names(p) {
		s := p.Services[name]
		for _, port := range s.Ports {
			if other, taken := ports[port.Published]; taken {
				t.Errorf("%s and %s publish port %s", name, other, port.Published)
			}
			ports[port.Published] = name
		}
		for _, v := range s.Volumes {
			if other, taken := volumes[v.Source]; taken {
				t.Errorf("%s and %s share the volume %s", name, other, v.Source)
			}
			volumes[v.Source] = name
		}
		environment := environmentOf(s)
		if region := environment["TENANTRY_REGION"]; region != "" {
			nodes[region]++
			if len(s.Ports) != 1 || len(s.Volumes) != 1 || s.Volumes[0].Target != environment["TENANTRY_DATA_DIR"] {
				t.Errorf("%s: got ports %v and volumes %v, want one of each, at its data directory", name, s.Ports, s.Volumes)
			}
		}
	}
	if nodes["eu-west"] != 2 || nodes["us-east"] != 2 || len(nodes) != 2 {
		t.Errorf("got nodes %v, want two of eu-west and two of us-east", nodes)
	}
}
