package api

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestListed: no list is null in JSON, at any depth, and none appears that is left out.
func TestListed(t *testing.T) {
	st := JobStatus{Missing: []Missing{{File: "x"}}}
	for _, v := range []any{
		st, []JobStatus{st}, []JobStatus(nil), Event{Status: &st}, Event{}, Member{}, NodeStatus{Expelled: &Expulsion{}},
		Manifest{Parts: []Part{{}}},
		Recovery{}, Invite{}, Revoked{}, map[string]string{"a": "b"}, struct {
			Member
			Revoked
		}{},
	} {
		text, err := json.Marshal(Listed(v))
		if err != nil || strings.Contains(string(text), "null") || strings.Contains(string(text), "failing") {
			t.Errorf("%T: %s, %v", v, text, err)
		}
	}
	if Listed(nil) != nil {
		t.Error("nil is something")
	}
}
