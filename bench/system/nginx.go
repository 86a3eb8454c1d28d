package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// answer is the form of an HTTP answer, as it is on the wire.
type answer struct {
	headers []string // lines
	body    int      // octets
}

// ask sends one request and looks at the answer as it comes, which net/http would tidy up.
func ask(ctx context.Context, base, path string) (answer, error) {
	var a answer
	u, err := url.Parse(base)
	if err != nil {
		return a, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return a, err
	}
	if _, err := conn.Write(request(u.Host, path)); err != nil {
		return a, err
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() && lines.Text() != "" {
		a.headers = append(a.headers, lines.Text())
		if n, ok := strings.CutPrefix(lines.Text(), "Content-Length: "); ok {
			if _, err := fmt.Sscan(n, &a.body); err != nil {
				return a, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return a, err
	}
	if len(a.headers) == 0 || !strings.HasPrefix(a.headers[0], "HTTP/1.1 200") || a.body == 0 {
		return a, fmt.Errorf("%s%s answered %q", base, path, a.headers)
	}
	a.headers = a.headers[1:]
	return a, nil
}

// nginx is the peer: it answers whatever is asked with the same octets, from its configuration.
type nginx struct {
	*process
	url string
}

// startNginx starts one whose answer is as large, and has as many headers, as like is.
func startNginx(ctx context.Context, cfg *config, like answer) (*nginx, error) {
	dir := cfg.path("nginx")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	conf := cfg.path("nginx/nginx.conf")
	if err := os.WriteFile(conf, nginxConf(dir, address, like), 0o600); err != nil {
		return nil, err
	}
	n := &nginx{url: "http://" + address}
	n.process, err = startProcess(ctx, func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "nginx", "-p", dir, "-e", "stderr", "-c", conf)
		cmd.Stderr = cfg.log
		return cmd
	})
	if err != nil {
		return nil, err
	}
	for {
		got, err := ask(ctx, n.url, "/v1/lookup/any.example")
		if err == nil {
			if got.body != like.body || len(got.headers) != len(like.headers) {
				err = fmt.Errorf("nginx answers %d octets and %q, and was to answer %d octets and %d headers",
					got.body, got.headers, like.body, len(like.headers))
				n.stop()
				return nil, err
			}
			return n, nil
		}
		select {
		case <-n.ended:
			return nil, fmt.Errorf("nginx ended: %w", n.err)
		default:
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			n.stop()
			return nil, err
		}
	}
}

// nginxConf has no log, no limit of requests on a connection, and a worker a core.
func nginxConf(dir, address string, like answer) []byte {
	var headers strings.Builder
	const own = 5 // Server, Date, Content-Type, Content-Length, Connection
	more := len(like.headers) - own
	for _, line := range like.headers {
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "Date", "Content-Type", "Content-Length":
			continue
		}
		if more--; more >= 0 {
			fmt.Fprintf(&headers, "            add_header %s '%s';\n", name, value)
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `daemon off;
worker_processes auto;
pid %[1]s/pid;
error_log stderr;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    client_body_temp_path %[1]s/body;
    proxy_temp_path %[1]s/proxy;
    fastcgi_temp_path %[1]s/fastcgi;
    uwsgi_temp_path %[1]s/uwsgi;
    scgi_temp_path %[1]s/scgi;
    server {
        listen %[2]s;
        location / {
            default_type application/json;
%[3]s            return 200 '%[4]s';
        }
    }
}
`, dir, address, headers.String(), strings.Repeat("x", like.body))
	return b.Bytes()
}

// freeAddress is one that nobody listened on a moment ago.
func freeAddress(ctx context.Context) (string, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}
