package p2p

import (
	"strings"
	"testing"
)

func TestInfoFromPeersIsClean(t *testing.T) {
	got := Info{Name: "a\x1b[31mb\n\xff", Version: "v1\a", Meta: "[6.40]", Slots: -3}.clean()
	if got != (Info{Name: "a[31mb", Version: "v1", Meta: "[6.40]"}) {
		t.Errorf("got %+v", got)
	}
	if got := (Info{Slots: 1<<63 - 1}).clean(); got.Slots != maxSlots {
		t.Errorf("%d slots are believed", got.Slots)
	}
}

// TestBadNames: a member's name cannot control the terminal that shows it.
func TestBadNames(t *testing.T) {
	for name, bad := range map[string]bool{
		"node-1":                       false,
		"Zoë 漢 😀":                      false,
		"":                             false,
		"a\u202eb":                     true,
		"a\u2066b":                     true,
		"a\u200db":                     true,
		"a\u00adb":                     true,
		"a\u009b2Jb":                   true,
		"a\x1bb":                       true,
		"a\u2028b":                     true,
		strings.Repeat("a", maxName+1): true,
	} {
		if badName(name) != bad {
			t.Errorf("%q is bad: %v", name, !bad)
		}
	}
}
