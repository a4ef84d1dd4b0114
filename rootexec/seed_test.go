package rootexec

import (
	"strings"
	"testing"
)

// TestUnseeded tells generators that a job's seed does not reach from those that it does, or that have a seed.
func TestUnseeded(t *testing.T) {
	seed := uint64(1)
	for text, want := range map[string]string{
		"fRandom = new TRandom3(0);":           "TRandom3(0)",
		"TRandom3 r( 0 );":                     "TRandom3 r( 0 )",
		"TRandom2 r{0};":                       "TRandom2 r{0}",
		"TRandomMixMax *r = new TRandom1(0u);": "TRandom1(0u)",
		"std::random_device dev;":              "random_device",
		"gRandom->Gaus(0, 1); TRandom3 r(10);": "",
		"TRandom3 r(run0);":                    "",
		"// new TRandom3(0)":                   "",
		"TRandom3 r;":                          "",
	} {
		src := Source{Files: map[string][]byte{
			"a/Sel.C":      []byte("#include <x>\n" + text),
			DataDir + "/x": []byte("TRandom3(0)"),
		}}
		notes := unseeded(src, work{Seed: &seed})
		if want == "" && len(notes) > 0 ||
			want != "" && (len(notes) != 1 || !strings.Contains(notes[0], want+" in Sel.C:2")) {
			t.Errorf("%s: %q, want %q", text, notes, want)
		}
		if notes := unseeded(src, work{}); len(notes) > 0 {
			t.Errorf("%s: without a seed: %q", text, notes)
		}
	}
}
