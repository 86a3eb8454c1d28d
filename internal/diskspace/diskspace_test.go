package diskspace

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestNeed_OfAFullDisk_SaysWhatIsMissingAndWhere(t *testing.T) {
	free := func(string) (uint64, error) { return 3 << 20, nil }
	if err := Need(free, "/data", 3<<20); err != nil {
		t.Errorf("as much as there is: got %v", err)
	}
	err := Need(free, "/data", 4<<20)
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "/data has 3 MiB free and needs 4 MiB") {
		t.Errorf("got %v, want ErrFull with the numbers", err)
	}
	if err := Need(Free, filepath.Join(t.TempDir(), "gone"), 1); runtime.GOOS == "linux" && (err == nil || errors.Is(err, ErrFull)) {
		t.Errorf("a directory that is not there: got %v, want the kernel's error", err)
	}
	if err := Need(Free, t.TempDir(), 1); err != nil {
		t.Errorf("one octet: got %v", err)
	}
}

func TestReserve_TakesRoomUntilItIsReleased(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can reserve room without writing it")
	}
	path := filepath.Join(t.TempDir(), "RESERVE")
	for range 2 { // the second finds what a kill has left
		if err := Reserve(path, 4<<20); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 4<<20 {
		t.Errorf("got %v, %v, want a file of 4 MiB", info, err)
	}
	for range 2 {
		if err := Release(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("released, and still there: %v", err)
	}
	if err := Reserve(path, 1<<60); err == nil {
		t.Error("more than any disk has was reserved")
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a reserve that was not made is there: %v", err)
	}
}
