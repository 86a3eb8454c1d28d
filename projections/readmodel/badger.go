package readmodel

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"syscall"
)

// badgerLogger passes on what Badger says. Its Info is about levels and tables, which no
// operator wants to know tomorrow.
type badgerLogger struct{ log *slog.Logger }

func (l badgerLogger) Errorf(format string, args ...any) {
	l.log.Error("badger: " + message(format, args))
}

func (l badgerLogger) Warningf(format string, args ...any) {
	l.log.Warn("badger: " + message(format, args))
}

func (l badgerLogger) Infof(format string, args ...any) {
	l.log.Debug("badger: " + message(format, args))
}

func (l badgerLogger) Debugf(format string, args ...any) {
	l.log.Debug("badger: " + message(format, args))
}

func message(format string, args []any) string {
	return strings.TrimSpace(fmt.Sprintf(format, args...))
}

func inUse(dir string) error {
	return fmt.Errorf("%w: %s: stop the other process, or give this one another data directory", ErrInUse, dir)
}

// openError tells the one error that an operator can mend from damage.
func openError(dir string, err error) error {
	if strings.Contains(err.Error(), "Cannot acquire directory lock") {
		return inUse(dir)
	}
	for _, passing := range []error{fs.ErrPermission, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOSPC, syscall.EROFS} {
		if errors.Is(err, passing) {
			return fmt.Errorf("open %s: %w", dir, err) // the model may well be good
		}
	}
	return fmt.Errorf("open %s: %w: %w", dir, ErrUnusable, err)
}
