package faults

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFullDisk_OfANode_ServesWhatItHas_AndGoesOnOnceThereIsRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	r := draw(t)
	disk := smallDisk(t, 256<<20)
	s := open(t, options{small: true, dir: disk})
	n := s.nodes[0]
	l := startLoad(t, s, r)
	pause(t, time.Second)
	for _, left := range []int64{24 << 20, 0} { // less than Badger needs; nothing at all
		if err := fill(disk, left); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		// Readers look up all the while.
		if err := await(patience, "the node says how old its copy is", func() bool {
			complete, err := n.completeAt()
			return err == nil && time.Since(complete) > 3*time.Second
		}); err != nil {
			t.Fatal(err)
		}
		_, body, err := n.look("/readyz?verbose")
		t.Logf("with %d MiB left, %s later: %v %s", left>>20, time.Since(began).Round(time.Millisecond), err, body)
		_, body, err = n.look("/v1/status")
		if err != nil || !strings.Contains(string(body), "disk") {
			t.Errorf("with %d MiB left the status does not say why the copy gets old: %v %s", left>>20, err, body)
		}
	}
	if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.probe(); err != nil {
		t.Fatal(err)
	}
	l.check()
	l.resume()

	// Killed while it is full, and started before there is room.
	if err := fill(disk, 0); err != nil {
		t.Fatal(err)
	}
	n.kill()
	err := n.launch()
	if err == nil {
		err = await(patience, "the node that was killed on a full disk answers or ends", func() bool {
			select {
			case <-n.ended:
				return true
			default:
				status, _, err := n.look("/v1/lookup/own-t0.example")
				return err == nil && status == http.StatusOK
			}
		})
	}
	if err != nil {
		t.Error(err)
	}
	t.Logf("started on a full disk:\n%s", n.logEnd(5))
	if strings.Contains(n.logEnd(200), "goroutine ") {
		t.Error("the node crashed")
	}
	if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.ended:
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
	default:
	}
	if _, err := l.probe(); err != nil {
		t.Fatal(err)
	}
	l.check()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// smallDisk is a file system of its own.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("a small file system cannot be mounted here (it takes root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves so many octets free.
func fill(disk string, left int64) error {
	f, err := os.OpenFile(filepath.Join(disk, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	block := []byte(strings.Repeat("x", 64<<10))
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(disk, &s); err != nil {
			return err
		}
		more := int64(s.Bavail)*s.Bsize - left
		if more <= 0 {
			return nil
		}
		if _, err := f.Write(block[:min(more, int64(len(block)))]); err != nil {
			if left == 0 && errors.Is(err, syscall.ENOSPC) {
				return nil // somebody else took the last of it
			}
			return err
		}
	}
}
