package progress

import (
	"bytes"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestTriesOfAGroup: what is printed about ranges that failed for the same reason is true of each of them.
func TestTriesOfAGroup(t *testing.T) {
	one := func(at int64, tries int, nodes ...string) api.Missing {
		return api.Missing{File: "/f", First: at, Last: at + 1, Kind: "signal", Reason: "r", Tries: tries, Nodes: nodes}
	}
	for want, all := range map[string][]api.Missing{
		"tries: 3, on b, a\n":                         {one(1, 3, "b", "a")},
		"tries: 3 each, on a, b\n":                    {one(1, 3, "a", "b"), one(2, 3, "b", "a"), one(3, 3, "a", "b")},
		"tries: 3 to 5 each, on various of a, b, c\n": {one(1, 3, "a", "b"), one(2, 5, "c", "b"), one(3, 3, "a", "b")},
		"": {one(1, 0), one(2, 0), one(3, 0)},
	} {
		var b bytes.Buffer
		missing(&b, api.JobStatus{Missing: all})
		if got := b.String(); !strings.Contains(got, want) || want == "" && strings.Contains(got, "    tries") {
			t.Errorf("want %q in:\n%s", want, got)
		}
	}
}

// TestMissingItems: what is missing of a job without files is told without a file, by the numbers of its items.
func TestMissingItems(t *testing.T) {
	lost := func(first, last int64) api.Missing {
		return api.Missing{
			Units:  [2]int64{first, last},
			Last:   last - first, // of its append
			Kind:   "exception",
			Reason: "division by zero",
			Tries:  3,
		}
	}
	for want, all := range map[string][]api.Missing{
		"  items [3, 5)\n": {lost(3, 5)},
		"  item 7\n":       {lost(3, 5), lost(7, 8)},
		"  4 items: exception: division by zero\n    items [3, 5)\n    item 7\n    item 9\n": {
			lost(3, 5), lost(7, 8), lost(9, 10),
		},
	} {
		var b bytes.Buffer
		missing(&b, api.JobStatus{Missing: all})
		if got := b.String(); !strings.Contains(got, want) || strings.Contains(got, "file") || strings.Contains(got, "entr") {
			t.Errorf("want %q in:\n%s", want, got)
		}
	}
}

// TestTreeWithoutDirectory: a crash of ROOT's own that is due to a tree in no directory names the way out.
func TestTreeWithoutDirectory(t *testing.T) {
	var b bytes.Buffer
	missing(&b, api.JobStatus{Missing: []api.Missing{{
		File: "/f", First: 3, Last: 4, Kind: "signal", Reason: "SIGSEGV", Tries: 3,
		Stack: "#1 TTree::OptimizeBaskets(unsigned long long)\n#2 TTree::Fill()\n#3 Mine::Process(long long)\n",
	}}})
	if got := b.String(); !strings.Contains(got, "TProofOutputFile") || !strings.Contains(got, "--first 3 -n 1") {
		t.Errorf("got:\n%s", got)
	}
}

// TestFriendThatIsGone: where the file of a friend cannot be read, the advice is about that, and not about the file of
// the job beside which it was to be read.
func TestFriendThatIsGone(t *testing.T) {
	var b bytes.Buffer
	missing(&b, api.JobStatus{Missing: []api.Missing{{
		File: "/data/f0.root", First: 0, Last: 16, Kind: "open",
		Reason: "no node can read it: open: the friend Fr in /fr/f3.root cannot be opened here: No such file or directory",
	}}})
	if got := b.String(); !strings.Contains(got, "next: check that the friend's file, /fr/f3.root, is whole") {
		t.Errorf("got:\n%s", got)
	}
}

// TestFriendThatDiffers: where a host has another version of a friend's file, that file is named, and not the job's
// own, which may be the same on all hosts.
func TestFriendThatDiffers(t *testing.T) {
	for _, reason := range []string{
		"open: the friend Fr in /fr/f 3.root has the UUID 1-2 here, but 3-4 where it was planned: it was written anew",
		"open: the friend Fr in /fr/f 3.root has 15 entries here, but 20 where it was planned",
	} {
		var b bytes.Buffer
		missing(&b, api.JobStatus{Missing: []api.Missing{{File: "/data/f0.root", Last: 16, Kind: "open", Reason: reason}}})
		Unseen(&b, "node bob", []api.Unseen{{Where: "/data/", Cause: "differs", Reason: reason, Files: 2}}, true, "alice")
		for _, want := range []string{
			"next: hosts have different versions of the friend's file, /fr/f 3.root: make it the same",
			"node bob has another version of the friend's file /fr/f 3.root than was planned when alice submitted",
			"2 files left to others",
		} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%q is not in:\n%s", want, b.String())
			}
		}
	}
}
