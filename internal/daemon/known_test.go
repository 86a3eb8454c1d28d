package daemon

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestMemory_KeepsWhatItIsTold_AndNothingOfAFileThatIsDamaged(t *testing.T) {
	m := &memory{dataDir: t.TempDir(), region: "eu-west"}
	store := uuid.New()
	for _, news := range []knownRegion{{}, {Partitions: 12}, {Store: store}, {}} {
		if err := m.note(news); err != nil {
			t.Fatal(err)
		}
	}
	want := knownRegion{Partitions: 12, Store: store}
	if got, known := recall(m.dataDir, "eu-west"); !known || got != want {
		t.Errorf("got %+v, %t, want %+v", got, known, want)
	}
	if _, known := recall(m.dataDir, "us-east"); known {
		t.Error("it knows a region that never ran")
	}
	if err := os.WriteFile(filepath.Join(m.dataDir, knownDir, "eu-west"), []byte(`{"partitions":12`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, known := recall(m.dataDir, "eu-west"); !known || got != (knownRegion{}) {
		t.Errorf("damaged: got %+v, %t, want that it ran, and no more", got, known)
	}
}

func TestRegion_ThatDoesNotEnd_IsNotWaitedForLonger(t *testing.T) {
	r := &Region{name: "eu-west", ended: make(chan struct{}), stuck: make(chan struct{})}
	if err := r.awaitEnd(time.Millisecond); err == nil {
		t.Error("it says that it has ended")
	}
	if err := r.awaitEnd(time.Hour); err != nil {
		t.Errorf("asked again: got %v, and it was told already", err)
	}
	if err := r.Err(); err != nil { // and does not wait either
		t.Errorf("got %v", err)
	}
}
