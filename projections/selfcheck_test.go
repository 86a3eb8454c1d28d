package projections

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tenantry/tenantry/projections/readmodel"
)

func TestProjector_ComparesItsCopyNowAndThen_AndTellsHowItWent(t *testing.T) {
	log := roster(t, 5)
	for name, test := range map[string]struct {
		answer Comparison
		err    error
		heal   bool
		want   Verified
	}{
		"equal":     {answer: Comparison{Position: 15, Tenants: 5}, want: Verified{Result: VerifiedEqual, Position: 15}},
		"different": {answer: Comparison{Position: 15, Tenants: 5, Differences: 1, Repairs: []Repair{{Stream: streamID(t, "ten_t1")}}}, want: Verified{Result: VerifiedDifferent, Position: 15, Different: 1}},
		"different, to heal": {answer: Comparison{Position: 15, Tenants: 5, Differences: 2, Repairs: []Repair{{Stream: streamID(t, "ten_t1")}, {Stream: streamID(t, "ten_t2")}}}, heal: true,
			want: Verified{Result: VerifiedDifferent, Position: 15, Different: 2, Healed: 2}},
		"its sums alone, to heal": {answer: Comparison{Position: 15, Tenants: 5, Differences: 1}, heal: true, want: Verified{Result: VerifiedDifferent, Position: 15, Different: 1}},
		"failed":                  {err: errAway, want: Verified{Result: VerifyFailed, Error: errAway.Error()}},
		"too much to heal": {answer: Comparison{Position: 15, Tenants: 5, Differences: 101, Repairs: make([]Repair, 101)}, heal: true,
			want: Verified{Result: VerifiedDifferent, Position: 15, Different: 101, Error: "101 streams differ, where the source has 5 tenants: that is too much to be mended without a person who looks at it"}},
		"more to take away than the source has": {answer: Comparison{Position: 15, Tenants: 1, Differences: 2, Removed: 2, Repairs: make([]Repair, 2)}, heal: true,
			want: Verified{Result: VerifiedDifferent, Position: 15, Different: 2, Error: "the source does not have 2 tenants, databases and groups that this copy has, and no more than 1 tenants: that is too much to be taken away without a person who looks at it"}},
		"as much to take away as the source has": {answer: Comparison{Position: 15, Tenants: 1, Differences: 1, Removed: 1, Repairs: []Repair{{Stream: streamID(t, "ten_stray")}}}, heal: true,
			want: Verified{Result: VerifiedDifferent, Position: 15, Different: 1, Healed: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, log)
			s.publish(len(log))
			p, _ := s.start(Config{VerifyEvery: time.Millisecond, Heal: test.heal, Compare: func(_ context.Context, in *readmodel.Inspection, rate int) (Comparison, error) {
				if got := in.Progress().Position(); got != uint64(len(log)) || rate != verifyRate {
					t.Errorf("got position %d and rate %d, want %d and %d", got, rate, len(log), verifyRate)
				}
				return test.answer, test.err
			}})
			s.await("a result", func() bool { return p.Verified() != nil })
			got := *p.Verified()
			if got.At.IsZero() {
				t.Error("it does not say when")
			}
			if got.At = (time.Time{}); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if n := testutil.ToFloat64(p.metrics.compared.WithLabelValues(string(test.want.Result))); n < 1 {
				t.Errorf("counted %v times, want at least once", n)
			}
		})
	}
}

// What the comparison has read need not be read again.
func TestProjector_ThatHeals_CountsItsSumsByWhatWasCompared(t *testing.T) {
	log := roster(t, 5)
	s := newStage(t, log)
	s.publish(len(log))
	const bucket = 7
	p, _ := s.start(Config{VerifyEvery: time.Millisecond, Heal: true, Compare: func(_ context.Context, in *readmodel.Inspection, _ int) (Comparison, error) {
		scanned := in.Maintained()
		scanned[bucket]++ // no scan would give this
		return Comparison{Position: 15, Tenants: 5, Differences: 1, Scanned: &scanned}, nil
	}})
	s.await("a result", func() bool { return p.Verified() != nil })
	if got := p.Live().Model().Sums()[bucket]; got == 0 {
		t.Errorf("got %d, want what was handed over", got)
	}
	if v := p.Verified(); v.Error != "" {
		t.Errorf("got %+v", v)
	}
}

func TestProjector_AskedToCompare_DoesItOnceReady_AndAgainAfterAnotherGenerationHasCutItOff(t *testing.T) {
	log := roster(t, 5)
	s := newStage(t, log)
	s.publish(len(log))
	var calls atomic.Int32
	cut := make(chan struct{})
	p, _ := s.start(Config{VerifyEvery: time.Hour, Compare: func(ctx context.Context, in *readmodel.Inspection, _ int) (Comparison, error) {
		if calls.Add(1) > 1 {
			return Comparison{}, nil
		}
		<-cut
		_, err := in.Scanned(ctx, 0)
		return Comparison{}, err
	}})
	s.awaitPosition(p, len(log))
	p.VerifySoon()
	s.await("the first", func() bool { return calls.Load() == 1 })
	if err := p.Adopt(t.Context(), s.build(5)); err != nil {
		t.Fatal(err)
	}
	close(cut)
	p.VerifySoon()
	s.await("the second", func() bool { return p.Verified() != nil })
	if got := p.Verified().Result; got != VerifiedEqual {
		t.Errorf("got %s, want equal: the first was cut off, and is none", got)
	}
}

func TestProjector_ThatIsNotToCompare_DoesNot(t *testing.T) {
	log := roster(t, 5)
	s := newStage(t, log)
	s.publish(len(log))
	p, stop := s.start(Config{Compare: func(context.Context, *readmodel.Inspection, int) (Comparison, error) {
		t.Error("it does")
		return Comparison{}, nil
	}})
	s.awaitPosition(p, len(log))
	stop()
	if p.Verified() != nil || strings.Contains(fmt.Sprint(p.Notice()), "verif") {
		t.Errorf("got %+v, want nothing", p.Verified())
	}
}
