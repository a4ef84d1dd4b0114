package node

import (
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/runtimes"
	"github.com/dtpnode/dtpnode/p2p"
)

func TestPeersThatDiffer(t *testing.T) {
	both := foundHere{{Kind: "ROOT", Version: "6.40.00"}, {Kind: "ROOT", Version: "6.38.00"}, {Kind: "test", Version: "1"}}
	for _, tc := range []struct {
		own   foundHere
		info  p2p.Info
		works bool
		says  []string
	}{
		{both[:1], p2p.Info{Version: "v1", Meta: announced(both[:1]...)}, true, nil},
		// their protocol numbers say whether they work together
		{both[:1], p2p.Info{Version: "v2", Meta: announced(both[:1]...)}, true, nil},
		{both[:1], p2p.Info{
			Version: "v1",
			Meta:    announced(both[1:2]...),
		}, false, []string{"6.38.00", "6.40.00", "install the same version"}},
		{both[:1], p2p.Info{Version: "v1", Meta: announced(both...)}, true, nil},
		{both, p2p.Info{Version: "v1", Meta: announced(both[2:]...)}, true, nil},
		{both[:2], p2p.Info{
			Version: "v1",
			Meta:    announced(both[2:]...),
		}, false, []string{"test 1", "ROOT 6.40.00, ROOT 6.38.00"}},
		{both[:1], p2p.Info{Version: "v1"}, false, []string{"no runtime to run jobs with", "`dtpnode status` there"}},
		{both[:1], p2p.Info{Version: "v1", Meta: runtimes.Announce([]runtimes.Told{
			{Info: both[0], Problem: "its child does not build"},
		}, p2p.MaxMeta)}, false, []string{"cannot run jobs with ROOT 6.40.00: its child does not build"}},
		{both[:1], p2p.Info{Version: "v1", Meta: "garbage"}, false, []string{"no runtime to run jobs with"}},
	} {
		d := &Daemon{cfg: Config{Version: "v1"}, runtimes: &jobs.Runtimes{
			Set: runtimes.Find(t.Context(), []exec.Finder{tc.own}, exec.Config{}),
		}}
		note := d.mismatch(tc.info)
		if (note == "") != tc.works {
			t.Errorf("%+v: %q", tc.info, note)
		}
		for _, s := range tc.says {
			if !strings.Contains(note, s) {
				t.Errorf("%+v: note %q does not say %q", tc.info, note, s)
			}
		}
	}
}

// announced is what a member tells of runtimes that can be used.
func announced(infos ...exec.Info) string {
	told := make([]runtimes.Told, len(infos))
	for i, info := range infos {
		told[i].Info = info
	}
	return runtimes.Announce(told, p2p.MaxMeta)
}

// TestWhoElseCanRunTheJob names members that are up and have what a job needs, to who lacks it.
func TestWhoElseCanRunTheJob(t *testing.T) {
	old, tests := exec.Info{Kind: "ROOT", Version: "6.38.00"}, exec.Info{Kind: "test", Version: "1"}
	broken := runtimes.Announce([]runtimes.Told{{Info: old, Problem: "broken"}}, p2p.MaxMeta)
	member := func(name, meta string, up bool) p2p.Member {
		return p2p.Member{Info: p2p.Info{Name: name, Meta: meta}, Up: up}
	}
	all := []p2p.Member{
		member("bob", announced(old, tests), true), member("carol", announced(tests), true),
		member("dave", announced(old), false), member("eve", broken, true),
	}
	if got := elsewhereText(all, old.Needs()); got != "; or submit it elsewhere: bob has ROOT 6.38.00, test 1" {
		t.Errorf("got %q", got)
	}
	for i := range all {
		all[i].Rights = []p2p.Right{p2p.Worker}
	}
	lacking := "2 members take no part, since they lack ROOT 6.38.00: carol has test 1; " +
		"eve has ROOT 6.38.00 (broken: broken)"
	if got := lackingText(all, old.Needs()); len(got) != 1 || got[0] != lacking {
		t.Errorf("got %q, want %q", got, lacking)
	}
	if got := lackingText(all[:2], tests.Needs()); len(got) != 0 {
		t.Errorf("all have it: %q", got)
	}
	if got := elsewhereText(all, []string{"ROOT=6.36.00"}); got != "" {
		t.Errorf("nobody has it: %q", got)
	}
	many := []p2p.Member{all[0], all[0], all[0], all[0], all[0]}
	if got := elsewhereText(many, old.Needs()); !strings.HasSuffix(got, "; 2 others can run it too") {
		t.Errorf("many have it: %q", got)
	}
}
