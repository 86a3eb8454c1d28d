package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/commands/adminapi"
	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/events/relay"
)

const (
	// clockSkew is how far the clocks of two catalogues may differ, that are right otherwise: what happened since a time may say
	// that it happened before it.
	clockSkew = time.Minute
	// bookmarkEvery is how often a replay notes how far it is: what a kill repeats of it at most.
	bookmarkEvery = time.Second
	bookmarkTime  = 2 * time.Second // for Kafka to take or give a bookmark
	// bookmarks are how many replays that were broken off can be gone on with: what they take together is less than
	// the 4096 octets that Kafka keeps.
	bookmarks = 8
	// bookmarkAge is how long one can be gone on with: after that the topic may have lost again what was published then.
	bookmarkAge = 24 * time.Hour
)

// topicReplayer has the relay publish events again, and goes on where the same was broken off.
type topicReplayer struct {
	store   events.Store
	relay   *relay.Relay
	cluster *kafka.Cluster
	topic   string
	log     *slog.Logger

	one sync.Mutex // held until a replay has noted how far it was, which the next one goes by
}

// bookmark is how far a replay has come. A list of them, one for each that was broken off, is kept in Kafka, so that
// any catalogue goes on from it.
type bookmark struct {
	Store     uuid.UUID       `json:"store"`
	Since     uint64          `json:"since,omitzero"`
	SinceTime time.Time       `json:"since_time,omitzero"`
	Tenant    events.TenantID `json:"tenant,omitzero"`
	Position  uint64          `json:"position"`
	UpTo      uint64          `json:"up_to"`
	At        int64           `json:"at"` // when that was, in seconds since 1970
	// Ends is the sum of where the partitions ended. A topic that has come less far is another one,
	// which holds nothing of what was replayed.
	Ends int64 `json:"ends"`
}

func (b bookmark) of(what adminapi.TopicReplay, store uuid.UUID) bool {
	return b.Store == store && b.Since == what.Since && b.SinceTime.Equal(what.SinceTime) && b.Tenant == what.Tenant
}

// tooOld tells that a bookmark is of a day before, or of a clock that was ahead.
func (b bookmark) tooOld(now time.Time) bool {
	age := now.Sub(time.Unix(b.At, 0))
	return age > bookmarkAge || age < -clockSkew
}

// group is under which name bookmarks are kept.
func (r *topicReplayer) group() string { return "tenantry-replay-" + r.topic }

// run is adminapi.Config's ReplayTopic.
func (r *topicReplayer) run(ctx context.Context, what adminapi.TopicReplay, told func(adminapi.TopicProgress) error) (adminapi.TopicProgress, error) {
	if !r.turn(ctx) {
		return adminapi.TopicProgress{}, adminapi.ErrReplaying
	}
	defer r.one.Unlock()
	head, err := r.store.Head(ctx)
	if err != nil {
		return adminapi.TopicProgress{}, err
	}
	begin := relay.Replay{Rate: what.Rate}
	if what.Since > 0 {
		begin.After = what.Since - 1
	}
	if !what.SinceTime.IsZero() {
		r.log.Info("looking for the first event that is to be published again", "since", what.SinceTime)
		if begin.After, err = positionBefore(ctx, r.store, head.Position, what.SinceTime.Add(-clockSkew)); err != nil {
			return adminapi.TopicProgress{}, err
		}
	}
	if !what.Tenant.IsZero() {
		if begin.Of, err = r.stream(ctx, what.Tenant); err != nil {
			return adminapi.TopicProgress{}, err
		}
	}
	resumed := false
	mark := bookmark{Store: head.StoreID, Since: what.Since, SinceTime: what.SinceTime, Tenant: what.Tenant}
	marks := r.marks(ctx)
	if i := slices.IndexFunc(marks, func(b bookmark) bool { return b.of(what, head.StoreID) }); i >= 0 {
		if last := marks[i]; !what.Restart && last.Position > begin.After && last.Position < last.UpTo {
			begin.After, resumed = last.Position, true
		}
		marks = slices.Delete(marks, i, i+1)
	}
	progress := func(p relay.ReplayProgress) adminapi.TopicProgress {
		return adminapi.TopicProgress{From: p.After + 1, Position: p.Position, UpTo: p.UpTo, Events: p.Events, Resumed: resumed}
	}
	marking, noted := true, time.Time{}
	note := func(ctx context.Context, p relay.ReplayProgress) {
		noted = time.Now()
		mark.Position, mark.UpTo = p.Position, p.UpTo
		if err := r.setMarks(ctx, mark, marks); err != nil && ctx.Err() == nil {
			marking = false
			r.log.Warn("cannot note in Kafka how far the replay of the topic is: if it is broken off, it begins anew", "group", r.group(), "err", err)
		}
	}
	begin.Progress = func(ctx context.Context, p relay.ReplayProgress) error {
		if marking && (time.Since(noted) >= bookmarkEvery || p.Position == p.UpTo) && p.Position > p.After {
			note(ctx, p)
		}
		return told(progress(p))
	}
	r.log.Info("publishing events again", "after", begin.After, "up_to", head.Position, "tenant", what.Tenant, "rate", what.Rate, "resumed", resumed)
	end, err := r.relay.Replay(ctx, begin)
	if marking && err != nil && end.Position > max(end.After, mark.Position) {
		// Whoever has stopped it was told of more than was noted last, and is to see it go on from there.
		note(context.WithoutCancel(ctx), end)
	}
	switch {
	case err == nil:
		r.log.Info("published events again", "after", end.After, "up_to", end.UpTo, "events", end.Events)
	case errors.Is(err, relay.ErrNotLeading):
		err = fmt.Errorf("%w: %s", adminapi.ErrNotLeading, whyNotLeading(r.relay.Status()))
	case errors.Is(err, relay.ErrReplaying):
		err = fmt.Errorf("%w: %w", adminapi.ErrReplaying, err)
	}
	return progress(end), err
}

// turn waits a little for a replay that is at its end: whoever has stopped one may begin it again at once.
func (r *topicReplayer) turn(ctx context.Context) bool {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(bookmarkTime); !r.one.TryLock(); {
		select {
		case <-ctx.Done():
			return false
		case <-again.C:
		}
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// whyNotLeading is for whoever has to do something about it.
func whyNotLeading(s relay.Status) string {
	switch {
	case s.Error != "":
		return s.Error
	case s.State == relay.StateStandby:
		return "another one leads, or it is being found out which"
	}
	return "its relay is not running"
}

// marks are how far the replays came that were broken off, the last one first, as far as that is to be found out and
// the topic is the same.
func (r *topicReplayer) marks(ctx context.Context) (all []bookmark) {
	ctx, cancel := context.WithTimeout(ctx, bookmarkTime)
	defer cancel()
	text, err := r.cluster.Bookmark(ctx, r.group(), r.topic)
	if err == nil && text == "" {
		return nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &all)
	}
	ends := int64(0)
	if err == nil {
		ends, err = r.ends(ctx)
	}
	if err != nil {
		r.log.Warn("cannot find out how far the replays before this one came: beginning anew", "group", r.group(), "err", err)
		return nil
	}
	return slices.DeleteFunc(all, func(b bookmark) bool { return ends < b.Ends || b.tooOld(time.Now()) })
}

// setMarks notes how far a replay is, beside others. One that has come to its end is forgotten.
func (r *topicReplayer) setMarks(ctx context.Context, b bookmark, others []bookmark) error {
	ctx, cancel := context.WithTimeout(ctx, bookmarkTime)
	defer cancel()
	var err error
	if b.Ends, err = r.ends(ctx); err != nil {
		return err
	}
	b.At = time.Now().Unix()
	all := slices.Clone(others)
	if b.Position < b.UpTo {
		all = slices.Insert(all, 0, b)
	}
	text, err := json.Marshal(all[:min(len(all), bookmarks)])
	if err != nil {
		return err
	}
	return r.cluster.SetBookmark(ctx, r.group(), r.topic, string(text))
}

func (r *topicReplayer) ends(ctx context.Context) (sum int64, err error) {
	all, err := r.cluster.Offsets(ctx, r.topic)
	for _, o := range all {
		sum += o.End
	}
	return sum, err
}

// stream reads one tenant's events.
func (r *topicReplayer) stream(ctx context.Context, id events.TenantID) (func(context.Context, uint64, int) ([]events.Event, error), error) {
	all, err := r.store.Load(ctx, id.Stream(), 0)
	if err != nil {
		return nil, fmt.Errorf("read the events of %s: %w", id, err)
	}
	return func(_ context.Context, after uint64, limit int) ([]events.Event, error) {
		for len(all) > 0 && all[0].Position <= after {
			all = all[1:]
		}
		return all[:min(limit, len(all))], nil
	}, nil
}

// sinceRead is how many events are looked at together.
const sinceRead = 1000

// positionBefore is the position before the first event that happened at a time or after. The log is read up to there: its times are
// those of the machines that made the events, and where one of these had a wrong clock for a while they do
// not grow, so that halving the log could end behind events that are meant.
func positionBefore(ctx context.Context, store events.Store, head uint64, at time.Time) (uint64, error) {
	for position := uint64(0); position < head; {
		page, err := store.After(ctx, position, sinceRead)
		if err != nil {
			return 0, fmt.Errorf("find the position of %s: %w", at.Format(time.RFC3339), err)
		}
		for _, e := range page {
			if !e.Time.Before(at) {
				return e.Position - 1, nil
			}
			position = e.Position
		}
		if len(page) == 0 {
			break
		}
	}
	return head, nil
}
