package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/daemon"
)

// Where `tenantry dev` answers when nobody says otherwise.
const (
	defaultAdmin = "http://127.0.0.1:8080"
	defaultQuery = "http://127.0.0.1:8081"
	defaultDir   = "./tenantry-data"
)

// addRemote gives a command the flags to find a running server: its URL, or the data
// directory of a running dev.
func addRemote(cmd *cobra.Command, flag, what, fallback string) {
	cmd.Flags().Var(newLink(), flag, what+" (default: that of the dev running on --data-dir, else "+fallback+")")
	if cmd.Flags().Lookup("data-dir") == nil {
		cmd.Flags().Var(newDirectory(), "data-dir", "data directory of a running dev, to find its addresses")
	}
}

// adminURL is the admin API to talk to.
func adminURL(cmd *cobra.Command) (string, error) {
	if u := flagValue(cmd, "admin"); u != "" {
		return u, nil
	}
	a, found, err := runningDev(cmd)
	if err != nil || found {
		return a.Admin, err
	}
	return defaultAdmin, nil
}

// queryURLs are the query APIs to talk to, by region where that is known.
func queryURLs(cmd *cobra.Command) (map[string]string, error) {
	if u := flagValue(cmd, "query"); u != "" {
		return map[string]string{"": u}, nil
	}
	a, found, err := runningDev(cmd)
	if err != nil || found {
		return a.Regions, err
	}
	return map[string]string{"": defaultQuery}, nil
}

// queryURL is one of them: the first region's.
func queryURL(cmd *cobra.Command) (string, error) {
	urls, err := queryURLs(cmd)
	if err != nil {
		return "", err
	}
	return urls[slices.Min(slices.Collect(maps.Keys(urls)))], nil
}

// runningDev finds the dev that runs on --data-dir. That none was ever announced there is an
// error only where the user has named the directory; that one has died is always.
func runningDev(cmd *cobra.Command) (daemon.Addresses, bool, error) {
	dir := flagValue(cmd, "data-dir")
	a, err := daemon.ReadAddresses(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if f := cmd.Flag("data-dir"); f.Changed || f.Annotations[sourceOf] != nil {
			return a, false, fmt.Errorf("no dev is running on %s: there is no %s in it", dir, daemon.AddressFile)
		}
		return a, false, nil
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return a, false, err
	}
	if err != nil { // what the JSON library says of it helps nobody
		return a, false, fmt.Errorf("%s is damaged: delete it, or start 'tenantry dev --data-dir %s', which writes it anew", filepath.Join(dir, daemon.AddressFile), dir)
	}
	if a.Admin == "" || len(a.Regions) == 0 {
		return a, false, fmt.Errorf("%s does not say where dev answers: is it dev's? it is written anew at its next start", filepath.Join(dir, daemon.AddressFile))
	}
	if !alive(a.PID) || !listening(cmd.Context(), a.Admin) {
		return a, false, fmt.Errorf("dev is not running (%s is left over from pid %d): start it with 'tenantry dev --data-dir %s', or name another server with %s",
			filepath.Join(dir, daemon.AddressFile), a.PID, dir, addressFlags(cmd))
	}
	return a, true, nil
}

// alive tells whether there is a process with this ID, be it another user's.
func alive(pid int) bool {
	if pid <= 0 {
		return false
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer func() { _ = p.Release() }() // it only frees what FindProcess took
	return !errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// listening tells whether anybody takes connections at an URL. The ID of a process that was
// killed may by now be another program's.
func listening(ctx context.Context, at string) bool {
	u, err := url.Parse(at)
	if err != nil {
		return false
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return ctx.Err() != nil // the user has stopped the program: what is asked next says so
	}
	conn.Close()
	return true
}
