package schematest_test

import (
	"maps"
	"testing"

	"github.com/tenantry/tenantry/schemas/schematest"
)

func TestCheckRecord_TellsMessagesOfTheTopicFromOthers(t *testing.T) {
	event := map[string]string{
		"ce_specversion": "1.0", "ce_id": "0193f3a1-6f7e-7c3a-9a51-0d2a4c1b7e90", "ce_source": "/tenantry/0f9d7a1e-7a0b-4b39-9f0a-3f8d3a4c2b10",
		"ce_type": "tenantry.tenant.renamed.v1", "ce_subject": "ten_acme", "ce_time": "2026-11-21T02:14:00.123456Z", "content-type": "application/json",
		"ce_position": "1042", "ce_version": "2", "ce_previous": "0", "ce_storeid": "0f9d7a1e-7a0b-4b39-9f0a-3f8d3a4c2b10", "ce_actor": "mara",
	}
	watermark := maps.Clone(event)
	watermark["ce_type"] = "tenantry.watermark.v1"
	for _, name := range []string{"ce_subject", "content-type", "ce_version", "ce_actor"} {
		delete(watermark, name)
	}
	data := []byte(`{"name":"Acme"}`)
	for name, c := range map[string]struct {
		headers map[string]string
		value   []byte
	}{"an event": {event, data}, "a watermark": {watermark, nil}} {
		if err := schematest.CheckRecord(c.headers, c.value); err != nil {
			t.Errorf("%s: got %v, want none", name, err)
		}
		for header := range c.headers {
			without := maps.Clone(c.headers)
			delete(without, header)
			if err := schematest.CheckRecord(without, c.value); (err == nil) != (header == "ce_actor") {
				t.Errorf("%s without %s: got %v", name, header, err)
			}
		}
		for header, value := range map[string]string{
			"ce_extra": "1", "ce_time": "yesterday", "ce_position": "-1", "ce_previous": "", "ce_storeid": "here", "ce_type": "tenantry.tenant.moved.v1", "ce_specversion": "0.3",
		} {
			with := maps.Clone(c.headers)
			with[header] = value
			if err := schematest.CheckRecord(with, c.value); err == nil {
				t.Errorf("%s with %s = %q: got no error", name, header, value)
			}
		}
	}
	if err := schematest.CheckRecord(event, []byte(`{"title":"Acme"}`)); err == nil {
		t.Error("an event with another payload: got no error")
	}
	if err := schematest.CheckRecord(watermark, data); err == nil {
		t.Error("a watermark with a payload: got no error")
	}
	withSubject := maps.Clone(watermark)
	withSubject["ce_subject"] = "ten_acme"
	if err := schematest.CheckRecord(withSubject, nil); err == nil {
		t.Error("a watermark with a subject: got no error")
	}
}
