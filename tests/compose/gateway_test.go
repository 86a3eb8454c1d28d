package compose

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/tenantry/tenantry/internal/testservers"
)

// startGateway starts the nginx of compose.yaml in front of catalogues, given by service and
// address, and returns where it answers.
func startGateway(t *testing.T, p *types.Project, catalogues map[string]string) (*process, string) {
	t.Helper()
	nginx := findNginx(t)
	s := p.Services["catalogue"]
	if len(s.Configs) != 1 || s.Configs[0].Target != "/etc/nginx/nginx.conf" {
		t.Fatalf("the configuration of nginx is not where it looks for it: %+v", s.Configs)
	}
	config := read(t, p.Configs[s.Configs[0].Source].File)
	dir := t.TempDir()
	address := freeAddress(t)
	config = replaced(t, config, "listen 8080;", "listen "+address+";")
	config = replaced(t, config, " /tmp/", " "+dir+"/")
	for name, at := range catalogues {
		// Names are resolved anew while it runs from nginx 1.27.3 on; here there are none.
		config = replaced(t, config, "server "+name+":8080 resolve ", "server "+at+" ")
	}
	if rest := regexp.MustCompile(`server \S+ resolve`).FindString(config); rest != "" {
		t.Fatalf("nginx would ask a name server: %q", rest)
	}
	if os.Geteuid() == 0 {
		config = "user root;\n" + config // its workers keep what they are sent in dir
	}
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	command := append(append([]string{}, s.Entrypoint...), s.Command...)
	if len(command) == 0 || command[0] != "nginx" {
		t.Fatalf("the service catalogue runs %v, want nginx", command)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), nginx, append(command[1:], "-c", path, "-p", dir)...)
	gateway := launch(t, "nginx", cmd)
	until(t, "nginx takes connections", func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			select {
			case <-gateway.ended:
				return &neverError{errors.New("it has ended: " + gateway.stderr.String())}
			default:
				return err
			}
		}
		return conn.Close()
	})
	return gateway, address
}

func replaced(t *testing.T, text, old, with string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("the configuration of nginx has no %q", old)
	}
	return strings.ReplaceAll(text, old, with)
}

func findNginx(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("nginx"); err == nil {
		return path
	}
	const debian = "/usr/sbin/nginx" // not in everyone's PATH
	if _, err := os.Stat(debian); err != nil {
		testservers.Missing(t, "nginx", err)
	}
	return debian
}

// freeAddress is one that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// client keeps no connections behind the test.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// twoCatalogues stand behind a gateway and are both one handler.
func twoCatalogues(t *testing.T, handler http.HandlerFunc) (gateway string) {
	t.Helper()
	catalogues := make(map[string]string)
	for _, name := range []string{"catalogue-1", "catalogue-2"} {
		s := httptest.NewServer(handler)
		t.Cleanup(s.Close)
		catalogues[name] = s.Listener.Addr().String()
	}
	_, address := startGateway(t, load(t, nil), catalogues)
	return "http://" + address
}

func TestGateway_RequestThatBreaksOff_IsSentAgainOnlyWhereThatIsSafe(t *testing.T) {
	for _, c := range []struct {
		method, key string
		arrivals    int32
	}{
		{"GET", "", 2},
		{"HEAD", "", 2},
		{"POST", "", 1},
		{"PATCH", "", 1},
		{"PUT", "", 1},
		{"DELETE", "", 1},
		{"POST", "k1", 2},
		{"PATCH", "k1", 2},
		{"PUT", "k1", 2},
		{"DELETE", "k1", 2},
	} {
		t.Run(fmt.Sprintf("%s with key %q", c.method, c.key), func(t *testing.T) {
			var arrivals atomic.Int32
			gateway := twoCatalogues(t, func(_ http.ResponseWriter, r *http.Request) {
				if body, err := io.ReadAll(r.Body); err != nil || r.Method != c.method || string(body) != "{}" && r.Method != http.MethodHead {
					t.Errorf("the catalogue got %s %q, %v", r.Method, body, err)
				}
				arrivals.Add(1)
				panic(http.ErrAbortHandler) // as one that was killed
			})
			body := io.Reader(strings.NewReader("{}"))
			if c.method == "HEAD" {
				body = nil
			}
			req, err := http.NewRequestWithContext(t.Context(), c.method, gateway+"/v1/tenants/ten_a", body)
			if err != nil {
				t.Fatal(err)
			}
			if c.key != "" {
				req.Header.Set("Idempotency-Key", c.key)
			}
			res, err := client(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != http.StatusBadGateway || res.Header.Get("Content-Type") != "application/problem+json" ||
				!strings.Contains(string(text), "Idempotency-Key") && c.method != "HEAD" {
				t.Errorf("got %s, %s: %s: want 502 and a problem that says what to do", res.Status, res.Header.Get("Content-Type"), text)
			}
			if got := arrivals.Load(); got != c.arrivals {
				t.Errorf("it arrived %d times, want %d", got, c.arrivals)
			}
		})
	}
}

func TestGateway_OneCatalogueIsDown_TheOtherTakesItsRequests(t *testing.T) {
	answers := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Method+" "+r.Host)
	}))
	defer answers.Close()
	_, address := startGateway(t, load(t, nil), map[string]string{
		"catalogue-1": freeAddress(t), // nobody listens there
		"catalogue-2": answers.Listener.Addr().String(),
	})
	for range 10 {
		for _, method := range []string{"GET", "POST", "PATCH"} {
			if got := call(t, method, "http://"+address+"/v1/tenants", ""); got != method+" "+address {
				t.Errorf("%s: got %q, want it from the other, with the Host that the client named", method, got)
			}
		}
	}
	if got := call(t, "POST", "http://"+address+"/v1/import", "{}\n"); got != "POST "+address {
		t.Errorf("import: got %q, want it from the other", got)
	}
}

// call is the body of an answer.
func call(t *testing.T, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestGateway_Import_IsAnsweredLineByLineWhileItIsSent(t *testing.T) {
	gateway := twoCatalogues(t, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if err := control.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		lines := bufio.NewReader(r.Body)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(w, "got "+line)
			_ = control.Flush()
		}
	})
	converse(t, gateway+"/v1/import", func(line string) string { return "got " + line })
}

// converse sends lines of an import, each when the one before has been answered.
func converse(t *testing.T, url string, answerTo func(line string) string) {
	t.Helper()
	body, lines := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	sent := make(chan string, 1)
	sent <- `{"id":"ten_line-0","name":"Line 0","hostnames":[],"home_region":"eu-west"}` + "\n"
	go func() {
		for line := range sent {
			if _, err := io.WriteString(lines, line); err != nil {
				return
			}
		}
		lines.Close()
	}()
	res, err := client(t).Do(req)
	if err != nil {
		close(sent)
		t.Fatal(err)
	}
	defer res.Body.Close()
	answers := bufio.NewReader(res.Body)
	line := `{"id":"ten_line-0","name":"Line 0","hostnames":[],"home_region":"eu-west"}` + "\n"
	for i := range 5 {
		got, err := answers.ReadString('\n')
		if want := answerTo(line); err != nil || got != want {
			close(sent)
			t.Fatalf("line %d: got %q, %v, want %q", i, got, err, want)
		}
		line = fmt.Sprintf(`{"id":"ten_line-%d","name":"Line %d","hostnames":[],"home_region":"eu-west"}`+"\n", i+1, i+1)
		if i < 4 {
			sent <- line
		}
	}
	close(sent)
	if rest, err := io.ReadAll(answers); err != nil || len(rest) > 0 {
		t.Errorf("behind the last line: got %q, %v", rest, err)
	}
}

func TestGateway_Log_ArrivesAsItIsSent(t *testing.T) {
	proceed := make(chan string)
	gateway := twoCatalogues(t, func(w http.ResponseWriter, r *http.Request) {
		for {
			// Nothing comes together with the headers, which a gateway that holds lines back would pass on.
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			select {
			case line, more := <-proceed:
				if !more {
					return
				}
				_, _ = io.WriteString(w, line)
			case <-r.Context().Done():
				return
			}
		}
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, gateway+"/v1/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for _, want := range []string{"first\n", "second\n"} {
		proceed <- want
		if line, err := lines.ReadString('\n'); line != want {
			t.Fatalf("got %q, %v, want %q while the answer goes on", line, err, want)
		}
	}
	close(proceed)
	if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
		t.Errorf("behind the last line: got %q, %v", rest, err)
	}
}

func TestGateway_LargeBodies_AreForTheCatalogueToJudge(t *testing.T) {
	gateway := twoCatalogues(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v", n, err)
	})
	for path, octets := range map[string]int{"/v1/tenants": 3 << 19, "/v1/import": 32 << 20} {
		if got, want := call(t, "POST", gateway+path, strings.Repeat("x", octets)), fmt.Sprintf("%d <nil>", octets); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}
