package embedded_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/tenantry/tenantry/events/embedded"
	"github.com/tenantry/tenantry/events/storetest"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestStore_KeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Data {
		root, generation := t.TempDir(), 0
		dir := func() string { return filepath.Join(root, strconv.Itoa(generation)) }
		return storetest.Data{
			Open: func(ctx context.Context) (storetest.Store, error) {
				return embedded.Open(ctx, embedded.Config{Dir: dir(), Logger: quiet()})
			},
			// What the files hold while the store is open is what a kill would leave. The store
			// itself is closed afterwards, so that nothing of it runs on.
			Kill: func(s storetest.Store) error {
				left := dir()
				generation++
				if err := os.CopyFS(dir(), os.DirFS(left)); err != nil {
					return err
				}
				return s.Close()
			},
		}
	})
}
