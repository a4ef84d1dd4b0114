package liar

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

const self = tasks.PeerID("liar")

// scene is a job that others lead and keep.
func scene() Scene {
	home := quorum.NewVoter("home", 1)
	return Scene{Job: tasks.NameOf([]byte("job")), Want: tasks.R(0, 10_000), Home: "home", Term: 3,
		Peers: []tasks.PeerID{
			"home",
			"other",
			self,
		}, Voters: []quorum.Voter{home, quorum.NewVoter("other", 1)}, Own: tasks.NameOf([]byte("own")), OwnTerm: 1}
}

// talk are some lies of a seed, encoded, each after the one to whom it is told.
func talk(t *testing.T, seed uint64, n int) (said [][]byte, kinds map[string]bool) {
	t.Helper()
	l := New(rand.New(rand.NewPCG(seed, 1)), self, modelkeys.Keys(self), true)
	s, kinds := scene(), map[string]bool{}
	mandate := quorum.SoleMandate(modelkeys.Keys("home"), engine.GroupName(s.Job), s.Voters[0])
	l.Hear(engine.Message{Job: s.Job, Term: 1, Open: &engine.Open{Home: "home", Proof: &mandate}})
	l.Hear(engine.Message{
		Job:  s.Job,
		Term: 1,
		Keep: &engine.Keep{Partial: &merge.Partial{ID: merge.ID{Node: "other", Seq: 1}, Job: s.Job, SHA256: "aa"}},
	})
	for range n {
		to, m, ok := l.Speak(s)
		if !ok {
			continue
		}
		b, err := wire.Marshal(&m)
		if err != nil {
			t.Fatalf("seed %d: could not encode %+v: %v", seed, m, err)
		}
		if to == self || to == "" {
			t.Fatalf("seed %d: it tells %q a lie", seed, to)
		}
		for i := 2; i < reflect.TypeFor[engine.Message]().NumField(); i++ {
			if !reflect.ValueOf(m).Field(i).IsZero() {
				kinds[reflect.TypeFor[engine.Message]().Field(i).Name] = true
			}
		}
		said = append(said, append([]byte(to+"\x00"), b...))
	}
	return said, kinds
}

// TestSameSeedSameLies: a seed that shows a defect shows it again.
func TestSameSeedSameLies(t *testing.T) {
	a, _ := talk(t, 7, 300)
	b, _ := talk(t, 7, 300)
	if len(a) == 0 || !reflect.DeepEqual(a, b) {
		t.Errorf("%d and %d lies, which are not the same", len(a), len(b))
	}
	if c, _ := talk(t, 8, 300); bytes.Equal(bytes.Join(a, nil), bytes.Join(c, nil)) {
		t.Error("two seeds tell the same lies")
	}
}

// TestLiesOfAllKinds: there is no kind of message that liars do not send.
func TestLiesOfAllKinds(t *testing.T) {
	all := map[string]bool{}
	for seed := range uint64(30) {
		_, kinds := talk(t, seed, 300)
		for k := range kinds {
			all[k] = true
		}
	}
	for i := 2; i < reflect.TypeFor[engine.Message]().NumField(); i++ {
		if name := reflect.TypeFor[engine.Message]().Field(i).Name; !all[name] {
			t.Errorf("no liar sends %s", name)
		}
	}
}

// TestSaid: what its own protocol would send is changed by its habits alone.
func TestSaid(t *testing.T) {
	l := New(rand.New(rand.NewPCG(1, 1)), self, modelkeys.Keys(self), true)
	s := scene()
	offer := engine.Message{
		Job: s.Job,
		Offer: &merge.Partial{
			ID:     merge.ID{Node: self, Seq: 1},
			Job:    s.Job,
			Cover:  tasks.CoverOf(tasks.R(0, 5)),
			Units:  5,
			Holder: self,
		},
	}
	merged := engine.Message{
		Job:   s.Job,
		Offer: &merge.Partial{ID: merge.ID{Node: self, Seq: 2}, Kids: []merge.ID{{Node: self, Seq: 1}}},
	}
	for what, tc := range map[string]struct {
		Habits
		m          engine.Message
		sent, same bool
	}{
		"honest":           {Habits{}, offer, true, true},
		"mute":             {Habits{Mute: 1}, offer, false, true},
		"lazy":             {Habits{Lazy: true}, merged, false, true},
		"lazy, of its own": {Habits{Lazy: true}, offer, true, true},
		"twisted":          {Habits{Twist: 1}, offer, true, false},
	} {
		l.Habits = tc.Habits
		changed := false
		for range 20 { // a change may be none
			got, ok := l.Said(s, tc.m)
			changed = changed || !reflect.DeepEqual(got, tc.m)
			if ok != tc.sent {
				t.Errorf("%s: sent is %v", what, ok)
			}
		}
		if changed == tc.same {
			t.Errorf("%s: changed is %v", what, changed)
		}
	}
}
