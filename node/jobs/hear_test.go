package jobs

import (
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

// Early values go to members that have asked lately, and to no others.
func TestHearing(t *testing.T) {
	var h hearing
	now := time.Unix(1000, 0)
	h.want("job", "a", now)
	h.want("other", "b", now)
	h.want("job", "c", now.Add(hearFor))
	if who := h.wanting("job", now.Add(hearFor)); len(who) != 2 {
		t.Errorf("%v want them", who)
	}
	late := now.Add(hearFor + 1)
	if who := h.wanting("job", late); len(who) != 1 || who[0] != "c" {
		t.Errorf("%v want them later", who)
	}
	if h.want("job", "c", late); len(h.by) != 1 || len(h.by["job"]) != 1 {
		t.Errorf("kept of who has gone: %v", h.by)
	}
}

// Values of a job are taken from its submitter alone, for as long as somebody follows it.
func TestHeardFromTheSubmitter(t *testing.T) {
	var h hearing
	one, two := h.begin("job", "a"), h.begin("job", "a")
	one()
	if !h.takes("job", "a") || h.takes("job", "b") || h.takes("other", "a") {
		t.Error("it takes them from anybody, or from nobody")
	}
	if two(); h.takes("job", "a") || len(h.from) != 0 {
		t.Error("it takes them when nobody follows")
	}
}

// Values in a file are handed on where they are small together.
func TestReadHeld(t *testing.T) {
	held := &exec.Held{At: 1, Ends: []uint64{2, 3}, File: strings.NewReader(".abc")}
	if list, ok := readHeld(held); !ok || string(list[0]) != "ab" || string(list[1]) != "c" {
		t.Errorf("%q, %v", list, ok)
	}
	short := &exec.Held{Ends: []uint64{5}, File: strings.NewReader("abc")}
	for _, bad := range []*exec.Held{{Ends: []uint64{1, maxHeard + 1}}, {}, short} {
		if _, ok := readHeld(bad); ok {
			t.Errorf("%+v was read", bad)
		}
	}
}
