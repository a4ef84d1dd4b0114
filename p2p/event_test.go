package p2p

import "testing"

func TestInfoFromPeersIsClean(t *testing.T) {
	got := Info{Name: "a\x1b[31mb\n\xff", Version: "v1\a", ROOT: "6.40\u202e", Slots: -3}.clean()
	if got != (Info{Name: "a[31mb", Version: "v1", ROOT: "6.40"}) {
		t.Errorf("got %+v", got)
	}
}
