package system

import (
	"context"
	"log/slog"
	"testing"

	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/tests/truth"
)

const topic = "tenantry.events.v1"

// checkTopic expects the topic to be what the log says.
func checkTopic(t *testing.T, brokers []string, w *truth.Log) {
	t.Helper()
	cluster, err := kafka.New(kafka.Config{Brokers: brokers, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.CheckTopic(ctx, cluster, topic); err != nil {
		t.Error(err)
	}
}
