package jobs

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/values"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// knowsAll is peers of a store whose names of jobs are their ids.
type knowsAll struct{ values.Peers }

func (knowsAll) Within(name string, do func(tasks.JobID, values.Job)) error {
	do(tasks.JobID(name), nil)
	return nil
}

// TestValuesAreReleasedForTheSubmitterAlone: another member could have those removed that somebody works with.
func TestValuesAreReleasedForTheSubmitterAlone(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	b := &base{
		book: NewBook(t.Context(), "self", 1, nil, nil), log: log,
		cluster: members.New(nil, nil, log), values: values.New(t.Context(), knowsAll{}, func(func()) {}, log),
	}
	r := &copies{base: b}
	j := b.book.New("graph")
	j.s.ID, j.s.Desc = "a1b2c3d4", &tasks.Job{Submitter: "alice", Open: true}
	b.book.Add(j)
	b.book.Identify(j.s.ID, j)
	ask := func(id tasks.JobID, units tasks.Cover) string {
		text, err := wire.Marshal(&releaseAsk{id, units})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	some := tasks.CoverOf(tasks.R(3, 5))
	for _, tc := range []struct {
		what      string
		from      tasks.PeerID
		arg, want string // part of the error; empty if there is none
	}{
		{"submitter", "alice", ask(j.s.ID, some), ""},
		{"other member", "mallory", ask(j.s.ID, some), "which mallory is not"},
		{"job that is over", "mallory", ask("b1b2c3d4", some), ""},
		{"units that cannot be", "alice", ask(j.s.ID, tasks.Cover{tasks.R(-1, 5)}), "no units"},
		{"no request", "alice", "?", "msgpack"},
	} {
		err := r.ServeRelease(tc.from, tc.arg)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.what, err, tc.want)
		}
	}
}
