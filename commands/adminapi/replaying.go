package adminapi

import (
	"context"
	"errors"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/problem"
	"github.com/tenantry/tenantry/internal/strictjson"
)

// What [Config.ReplayTopic] is refused with.
var (
	ErrNotLeading = errors.New("this catalogue does not publish")
	ErrReplaying  = errors.New("a replay of the topic is under way")
)

// TopicReplay says which events to publish again.
type TopicReplay struct {
	Since     uint64          // the first position; 0: the first there is
	SinceTime time.Time       // in its place, where not zero
	Tenant    events.TenantID // zero: all streams
	Rate      int             // events a second; 0: as fast as it goes
	Restart   bool            // do not go on where the same replay was broken off
}

// TopicProgress is how far a replay is.
type TopicProgress struct {
	From     uint64           `json:"from"`
	Position uint64           `json:"position"`
	UpTo     uint64           `json:"up_to"`
	Events   uint64           `json:"events"`
	Resumed  bool             `json:"resumed,omitzero"`
	Done     bool             `json:"done,omitzero"`
	Error    *problem.Problem `json:"error,omitzero"`
}

const (
	maxRate = 1_000_000
	// tellEvery is how often a replay that moves is told of at least.
	tellEvery = 250 * time.Millisecond
)

// replayTopic is POST /v1/topic/replay.
func (a *api) replayTopic(c echo.Context) error {
	if _, err := queryOf(c); err != nil {
		return err
	}
	what, err := topicReplay(c)
	if err != nil {
		return err
	}
	if err := acceptLines(c); err != nil {
		return err
	}
	ctx := c.Request().Context()
	if err := a.knownTenant(ctx, what.Tenant); err != nil {
		return err
	}
	if a.replay == nil {
		return kindNotLeading.problem("this catalogue publishes nothing at all: ask another")
	}
	var lines *lineWriter
	var told time.Time
	end, err := a.replay(ctx, what, func(p TopicProgress) error {
		switch {
		case lines == nil:
			lines = a.newLineWriter(c)
		case time.Since(told) < tellEvery:
			return nil
		}
		told = time.Now()
		return errors.Join(lines.write(p), lines.flush())
	})
	switch {
	case errors.Is(err, ErrNotLeading) && lines == nil:
		return kindNotLeading.problem("%s; the one that does has 1 in its metric tenantry_relay_leading", err)
	case errors.Is(err, ErrReplaying):
		return kindReplaying.problem("wait until the replay that is under way has ended, or stop whoever asked for it")
	case err != nil && (lines == nil || ctx.Err() != nil):
		return err
	case err != nil:
		a.log.Warn("a replay of the topic was broken off", "position", end.Position, "up_to", end.UpTo, "err", err)
		end.Error = problemOfReplay(err)
	default:
		end.Done = true
	}
	if lines == nil {
		lines = a.newLineWriter(c)
	}
	return errors.Join(lines.write(end), lines.close())
}

// problemOfReplay is what a client is told of a replay that ended half way.
func problemOfReplay(err error) *problem.Problem {
	k, detail := kindUnavailable, "store or Kafka went away: ask again, and it goes on from here; the log says more"
	if errors.Is(err, ErrNotLeading) {
		k, detail = kindNotLeading, "another catalogue publishes now: ask that one, and it goes on from here"
	}
	p := k.problem("%s", detail)
	p.Status = 0
	return p
}

func topicReplay(c echo.Context) (TopicReplay, error) {
	var what TopicReplay
	body, err := readBody(c)
	if err != nil || len(body) == 0 {
		return what, err
	}
	o, err := strictjson.Parse(body)
	if err != nil {
		return what, err
	}
	if since, ok := o.Int("since", 1, maxNumber); ok {
		what.Since = uint64(since)
		if o.Has("since_time") {
			o.Fault("since_time", `"since" is given too: give one of them`)
		}
	}
	what.SinceTime, _ = o.Time("since_time")
	what.Tenant, _ = strictjson.Text(o, "tenant", events.ParseTenantID)
	rate, _ := o.Int("rate", 1, maxRate)
	what.Rate = int(rate)
	what.Restart, _ = o.Bool("restart")
	return what, o.Err()
}

// knownTenant refuses a tenant that never was.
func (a *api) knownTenant(ctx context.Context, id events.TenantID) error {
	if id.IsZero() {
		return nil
	}
	first, err := a.store.History(ctx, id.Stream(), 0, 1)
	if err == nil && len(first) == 0 {
		return kindMissing.problem("there is no tenant %s: check the ID", id)
	}
	return err
}
