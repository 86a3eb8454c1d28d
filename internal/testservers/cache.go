package testservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cacheDir is where what was fetched stays: .cache of the repository that the working directory
// is in, so that `make clean` removes it, or else the user's cache.
func cacheDir() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; at = filepath.Dir(at) {
		mod, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && strings.Contains(string(mod), "module github.com/tenantry/tenantry\n") {
			return filepath.Join(at, ".cache"), nil
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a directory to keep servers in: %w", err)
	}
	return filepath.Join(user, "tenantry"), nil
}

// locked runs do while no other process holds the lock of that name.
func locked(ctx context.Context, name string, do func() error) (err error) {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o750); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(cache, name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // which gives the lock back
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return do()
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", lock.Name(), err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait for another process to let go of %s: %w", lock.Name(), ctx.Err())
		}
	}
}

// lookPath finds a program, also where only root's PATH looks.
func lookPath(name string) (string, bool) {
	if path, err := exec.LookPath(name); err == nil {
		return path, true
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, true
		}
	}
	return "", false
}

// install installs Debian packages. It says what to do where that is not ours to do.
func install(ctx context.Context, packages ...string) error {
	names := strings.Join(packages, " ")
	apt, found := lookPath("apt-get")
	if !found {
		return fmt.Errorf("install %s (so Debian calls them)", names)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("install them as root: apt-get install --no-install-recommends %s", names)
	}
	return locked(ctx, "apt", func() error {
		wait := []string{"-qq", "-o", "DPkg::Lock::Timeout=300"}
		for _, args := range [][]string{
			append(wait, "update"),
			append(append(wait, "-y", "--no-install-recommends", "install"), packages...),
		} {
			cmd := exec.CommandContext(ctx, apt, args...)
			cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("apt-get install %s: %w\n%s", names, err, lastLines(out, 10))
			}
		}
		return nil
	})
}

// lastLines is the end of a log.
func lastLines(log []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
