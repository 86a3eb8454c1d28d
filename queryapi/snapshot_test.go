package queryapi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/queryapi"
)

// copying gives copies of the node's model.
func copying(n **node) func(*queryapi.Config) {
	return func(cfg *queryapi.Config) {
		cfg.Snapshot = func(ctx context.Context, w io.Writer) error {
			in, err := (*n).live.Model().Inspect()
			if err != nil {
				return err
			}
			defer in.Close()
			_, err = in.WriteCopy(ctx, w, "eu-west")
			return err
		}
	}
}

func TestSnapshot_IsACopyOfTheWholeModel(t *testing.T) {
	var n *node
	n = newNode(t, copying(&n))
	n.commit(4, tenant(t, "ten_acme", 4, "acme.example"))
	a := n.get("/v1/snapshot").is(t, http.StatusOK)
	if got := a.header.Get("Content-Type"); got != "application/octet-stream" {
		t.Errorf("got Content-Type %q", got)
	}
	c, err := readmodel.OpenCopy(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := c.Restore(t.Context(), readmodel.Config{Dir: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if *sums != n.live.Model().Sums() || c.Header.Region != "eu-west" {
		t.Errorf("the copy is of %s, and another than the model", c.Header.Region)
	}
}

func TestSnapshot_NotAllowed_IsRefused(t *testing.T) {
	n := newNode(t)
	n.get("/v1/snapshot").isProblem(t, http.StatusForbidden, "snapshots-off", "-")
}

func TestSnapshot_OfANodeThatIsNotReady_IsRefused(t *testing.T) {
	var n *node
	n = newNode(t, copying(&n), func(cfg *queryapi.Config) { cfg.Ready = func() error { return errors.New("it is building its copy") } })
	n.get("/v1/snapshot").isProblem(t, http.StatusServiceUnavailable, "not-ready", "-")
}

func TestSnapshot_ThatFailsHalfWay_BreaksTheConnectionOff(t *testing.T) {
	n := newNode(t, func(cfg *queryapi.Config) {
		cfg.Snapshot = func(_ context.Context, w io.Writer) error {
			_, err := w.Write(bytes.Repeat([]byte("x"), 1<<20))
			return errors.Join(err, errors.New("the disk burns"))
		}
	})
	resp, err := http.Get(n.url + "/v1/snapshot")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v at the end of the answer, want that it is cut short", err)
	}
}

func TestSnapshot_TooManyAtOnce_AreRefused(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	n := newNode(t, func(cfg *queryapi.Config) {
		cfg.Snapshot = func(context.Context, io.Writer) error {
			begun <- struct{}{}
			<-end
			return nil
		}
	})
	done := make(chan struct{})
	for range 2 {
		go func() {
			defer func() { done <- struct{}{} }()
			n.get("/v1/snapshot")
		}()
		<-begun
	}
	n.get("/v1/snapshot").isProblem(t, http.StatusServiceUnavailable, "unavailable", "-")
	close(end)
	<-done
	<-done
}
