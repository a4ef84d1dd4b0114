package plan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// saysOf are the answers of members for one file: a number of entries, "missing", "silent", "broken", "schema" or
// "tree", which is a plan of another tree than was asked for.
func saysOf(text string) Answer {
	p := Answer{Part: "T"}
	switch text {
	case "missing":
		return Answer{Kind: exec.KindOpen, Host: exec.CauseMissing, Msg: "No such file"}
	case "silent":
		return Answer{Kind: exec.KindOpen, Host: exec.CauseUnreachable, Msg: "no answer"}
	case "broken":
		return Answer{Kind: exec.KindOpen, Msg: "truncated"}
	case "schema":
		return Answer{Kind: exec.KindSchema, Msg: `no tree "T"`}
	case "tree":
		return Answer{Part: "U", Entries: 10}
	}
	_, _ = fmt.Sscan(text, &p.Entries)
	return p
}

// TestOneMemberDecidesOverNoFile: whatever one member says of a file that the submitter does not see, it counts for no
// more than one word where others see the file, and the job's user is told where nobody else does.
func TestOneMemberDecidesOverNoFile(t *testing.T) {
	for _, c := range []struct {
		said    string // by members a, b, c and d, who are asked in this order
		asked   int
		entries int64
		bad     exec.Kind // empty if the file is to be read
		told    string    // in the failure, or in a note; empty if there is no note
	}{
		{"9 0 0 0", 1, 9, "", ""}, // who opens it compares
		{"0 9 0 0", 2, 9, "", ""},
		{"0 0 0 9", 4, 9, "", ""},
		{"0 missing 9 missing", 3, 9, "", ""},
		{"0 0 0 0", 4, 0, "", ""},
		{"0 missing 0 missing", 4, 0, "", ""},
		{"missing 0 missing missing", 4, 0, "", "1 file has no entries, as only b could say: /x/f"},
		{"0 - - -", 4, 0, "", "1 file has no entries, as only a could say: /x/f"},
		{"broken 9 - -", 2, 9, "", ""},
		{"schema 9 - -", 2, 9, "", ""},
		{"tree 9 - -", 2, 9, "", ""},
		{"tree missing missing missing", 4, 0, exec.KindOpen, "a plan that cannot be"},
		{"-5 9 - -", 2, 9, "", ""},
		{"9223372036854775807 9 - -", 2, 9, "", ""},
		{"0 broken - -", 4, 0, exec.KindOpen, "truncated, says b; but a says: it has no entries"},
		{"0 broken 0 -", 4, 0, "", "/x/f is taken to have no entries, as most say; but b says: truncated"},
		{"schema 0 - -", 4, 0, exec.KindOpen, `no tree "T", says a; but b says: it has no entries`},
		{"schema broken - -", 4, 0, exec.KindOpen, `truncated, says b; but a says: no tree "T"`},
		{"schema schema - missing", 4, 0, exec.KindSchema, `no tree "T"`},
		{"missing missing missing missing", 4, 0, exec.KindOpen, "not here"},
		{"missing silent missing missing", 4, 0, exec.KindOpen, "no answer"},
		{"silent silent 9 9", 2, 0, exec.KindOpen, "no answer"},
		{"silent 9 - -", 2, 9, "", ""},
	} {
		said := strings.Fields(c.said)
		u := unseen(api.InputFile{URL: "/x/f"})
		asked := 0
		u.gather(t.Context(), []tasks.PeerID{"a", "b", "c", "d"},
			func(_ context.Context, m tasks.PeerID, files []api.InputFile, _ time.Duration) ([]Answer, error) {
				asked++
				text := said[m[0]-'a']
				if text == "-" || len(files) != 1 || files[0].Part != "T" {
					return nil, errors.New("does not answer")
				}
				return []Answer{saysOf(text)}, nil
			}, func(string) {})
		u.weigh(nil)
		notes := strings.Join(u.doubts(nil), "\n")
		var kind exec.Kind
		if f := u.bad[0]; f != nil {
			kind = f.Kind
			notes += f.Msg
		}
		if asked != c.asked || kind != c.bad || kind == "" && u.plans[0].Entries != c.entries ||
			(notes == "") != (c.told == "") || !strings.Contains(notes, c.told) {
			t.Errorf("%q: %d asked, %d entries, %q, %q; want %+v", c.said, asked, u.plans[0].Entries, kind, notes, c)
		}
	}
}

// unseen are files that this host does not see.
func unseen(files ...api.InputFile) *unseenHere {
	u := &unseenHere{req: api.JobRequest{Files: files, Part: "T"}, limit: time.Second}
	for _, f := range files {
		u.bad = append(u.bad, &exec.Failure{Kind: exec.KindOpen, Host: exec.CauseMissing, File: f.URL, Msg: "not here"})
	}
	n := len(files)
	u.plans, u.words = make([]exec.Plan, n), make([][]word, n)
	return u
}

// TestFilesThatOneMemberCallsEmptyAreCounted: thousands of them are one line.
func TestFilesThatOneMemberCallsEmptyAreCounted(t *testing.T) {
	u := unseen(make([]api.InputFile, 3)...)
	for i := range u.words {
		u.bad[i], u.plans[i].File = nil, fmt.Sprintf("/x/%d", i)
		u.words[i] = []word{{by: []string{"a", "b", "a"}[i]}}
	}
	got := strings.Join(u.doubts(Names{"a": "alpha"}), "\n")
	want := "1 file has no entries, as only b could say: /x/1\n2 files have no entries, as only alpha could say; the " +
		"first: /x/0"
	if got != want {
		t.Errorf("%s", got)
	}
}

// TestAFileThatAllCallBrokenIsAskedOfSixteen: a job with thousands of members and of broken files is Answer soon.
func TestAFileThatAllCallBrokenIsAskedOfSixteen(t *testing.T) {
	u := unseen(api.InputFile{URL: "/x/f"})
	members := make([]tasks.PeerID, 100)
	for i := range members {
		members[i] = fmt.Sprint(i)
	}
	asked := 0
	u.gather(t.Context(), members, func(context.Context, tasks.PeerID, []api.InputFile, time.Duration) ([]Answer, error) {
		asked++
		return []Answer{saysOf("broken")}, nil
	}, func(string) {})
	if asked != maxWords {
		t.Errorf("%d are asked", asked)
	}
}

// TestAFileThatIsDamagedHereIsReadElsewhere: what this host says of a file that is there counts as one word, so that a
// copy that was cut on its way here costs the job nothing where another is whole. What was named wrongly is asked of
// nobody.
func TestAFileThatIsDamagedHereIsReadElsewhere(t *testing.T) {
	for _, c := range []struct {
		own     exec.Kind
		said    string // by members a, b and c
		asked   int
		entries int64
		bad     bool
		tried   int // members that have the file, and were asked
	}{
		{exec.KindOpen, "9 - -", 1, 9, false, 0},
		{exec.KindData, "broken 9 -", 2, 9, false, 0},
		{exec.KindOpen, "missing broken missing", 3, 0, true, 1},
		{exec.KindOpen, "missing missing missing", 3, 0, true, 0},
		{exec.KindOpen, "broken broken broken", 3, 0, true, 3},
		{exec.KindOpen, "0 - -", 3, 0, true, 1},
		{exec.KindSchema, "9 9 9", 0, 0, true, 0},
		{exec.KindSignal, "9 9 9", 0, 0, true, 0},
	} {
		said := strings.Fields(c.said)
		u := unseen(api.InputFile{URL: "/x/f"})
		u.bad[0] = &exec.Failure{Kind: c.own, File: "/x/f", Msg: "cut here"}
		asked := 0
		u.gather(t.Context(), []tasks.PeerID{"a", "b", "c"},
			func(_ context.Context, m tasks.PeerID, files []api.InputFile, _ time.Duration) ([]Answer, error) {
				asked++
				if text := said[m[0]-'a']; text != "-" {
					return []Answer{saysOf(text)}, nil
				}
				return nil, errors.New("does not answer")
			}, func(string) {})
		u.weigh(nil)
		if asked != c.asked || (u.bad[0] != nil) != c.bad || u.plans[0].Entries != c.entries ||
			c.bad && len(u.asked(0)) != c.tried {
			t.Errorf("%s here, %q there: %d asked, %d have tried, %d entries, %v", c.own, c.said, asked, len(u.asked(0)),
				u.plans[0].Entries, u.bad[0])
		}
		if notes := strings.Join(damagedNotes(u, map[int]string{0: "cut here"}), ""); (notes != "") == c.bad {
			t.Errorf("%s here, %q there: the user is told %q", c.own, c.said, notes)
		}
	}
}
