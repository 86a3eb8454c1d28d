package projections

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/projections/readmodel"
)

func TestProjector_WhoseLiveGenerationIsDeletedUnderIt_SaysSo_AndAnotherTakesItsPlace(t *testing.T) {
	log := roster(t, 10)
	s := newStage(t, log)
	s.publish(len(log))
	logged := new(logBuffer)
	p, _ := s.start(Config{
		Logger:  slog.New(slog.NewTextHandler(logged, nil)),
		Compare: func(context.Context, *readmodel.Inspection, int) (Comparison, error) { return Comparison{}, nil },
	})
	s.awaitPosition(p, len(log))
	if err := p.Lost(); err != nil {
		t.Errorf("while all is there: %v", err)
	}
	if err := os.RemoveAll(s.dir + "/gen-0001"); err != nil {
		t.Fatal(err)
	}
	p.VerifySoon()
	s.await("a comparison", func() bool { return p.Verified() != nil })
	if v := p.Verified(); v.Result != VerifyFailed || !strings.Contains(v.Error, "gen-0001 lacks") {
		t.Errorf("compared: got %+v", v)
	}
	if err := p.Following(); err == nil || !strings.Contains(err.Error(), "gen-0001 lacks") {
		t.Errorf("following: got %v, want what is lost", err)
	}
	if got := logged.String(); strings.Count(got, "deleted under it") != 1 {
		t.Errorf("logged is %s", got)
	}
	checkEquals(t, p.Live(), log) // it serves on

	name := s.build(len(log))
	if name == "gen-0001" {
		t.Fatal("the name is used again of what the node has open")
	}
	if err := p.Adopt(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	s.publish(len(log))
	checkEquals(t, p.Live(), log)
	s.await("following", func() bool { return p.Following() == nil })
}

func TestProjector_WhoseDirectoryIsDeletedUnderIt_EndsWithAnError(t *testing.T) {
	log := roster(t, 5)
	s := newStage(t, log)
	s.publish(len(log))
	p := New(Config{Region: "eu-west", Dir: readmodel.Dir(s.dir), Cluster: s.cluster, Topic: topic, Source: s.source})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	s.awaitPosition(p, len(log))
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; !errors.Is(err, readmodel.ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
}
