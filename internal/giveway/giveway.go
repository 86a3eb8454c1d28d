package giveway

import (
	"context"
	"sync/atomic"
	"time"
)

// lookups counts the look-ups that this process has answered.
var lookups atomic.Uint64

// LookedUp says that a look-up was answered. It costs one atomic addition.
func LookedUp() { lookups.Add(1) }

// slice is how long bulk work goes on before it lets look-ups go first.
const slice = time.Millisecond

// Bulk is work of one goroutine that takes long and can wait.
type Bulk struct {
	began time.Time
	seen  uint64
}

// Begin begins bulk work.
func Begin() *Bulk { return &Bulk{began: time.Now(), seen: lookups.Load()} }

// Pause is called after each little piece of the work. Where look-ups were answered meanwhile it sleeps for as
// long as was worked since it last did.
func (b *Bulk) Pause(ctx context.Context) {
	worked := time.Since(b.began)
	if worked < slice {
		return
	}
	if now := lookups.Load(); now != b.seen {
		b.seen = now
		wait := time.NewTimer(worked)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
	}
	b.began = time.Now()
}
