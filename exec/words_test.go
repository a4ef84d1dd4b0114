package exec

import "testing"

// TestTitles: of a selector's path its last part is told, and all of an expression and of a name that was given.
func TestTitles(t *testing.T) {
	selectors, named := WordsOf(nil), Words{Named: true}
	for _, k := range []struct {
		words       Words
		given, want string
	}{
		{selectors, "/ana/DiMuon.C", "DiMuon.C"},
		{selectors, "/my ana/Di Muon.C", "Di Muon.C"},
		{selectors, "draw v/2-pt>>hz", "draw v/2-pt>>hz"},
		{selectors, "count a/b>1 && x.y", "count a/b>1 && x.y"},
		{named, "muons/2024", "muons/2024"},
	} {
		if got := k.words.Title(k.given); got != k.want {
			t.Errorf("%q: %q, want %q", k.given, got, k.want)
		}
	}
}
