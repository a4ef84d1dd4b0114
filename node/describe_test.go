package node

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// mute has a member join that answers no request until the test ends.
func mute(t *testing.T, d *Daemon) *p2p.Node {
	t.Helper()
	n, err := p2p.Open(t.Context(), p2p.Config{
		Dir:     t.TempDir(),
		Name:    "mute",
		Version: "test",
		Topics:  []string{jobsTopic},
		Serve: func(ctx context.Context, _ p2p.PeerID, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	go func() {
		for ev := range n.Events() { // which it hears and does nothing about
			switch ev := ev.(type) {
			case p2p.Message:
				ev.Done()
			case p2p.Announced:
				ev.Done()
			}
		}
	}()
	token, _, err := d.net.Invite([]p2p.Right{p2p.Worker}, time.Minute)
	if err == nil {
		err = n.Join(t.Context(), token)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// claims is how a member announces that it has founded the ledger of a job, whoever's that is.
func claims(by *p2p.Node, id tasks.JobID) engine.Recv {
	m := quorum.SoleMandate(netKeys{by, new(madeLately)}, engine.GroupName(id), quorum.NewVoter(by.ID(), 1))
	return engine.Recv{
		From: by.ID(),
		Msg:  engine.Message{Job: id, Term: 1, Open: &engine.Open{Home: by.ID(), Every: time.Second, Proof: &m}},
	}
}

// hearsOf is when a member announces a job; nothing is done about it yet.
func (d *Daemon) hearsOf(by *Daemon, id tasks.JobID) {
	m := claims(by.net, id)
	d.loop.Ask(func(p *engine.Peer) { p.Step(d.loop.now(), m) })
}

// TestWhoNeverAnswersKeepsNobodyFromAJob: a member announces another's job first, and never answers the question for
// its signature. The job's home is asked all the same, and only the liar is named.
func TestWhoNeverAnswersKeepsNobodyFromAJob(t *testing.T) {
	d := openWithout(t, "host")
	defer d.Close()
	home, liar := admit(t, d, "home", p2p.Submitter), mute(t, d)
	defer home.Close()
	until(t, "both are up", func() bool { return len(d.cluster.Up()) == 2 })
	id := describedAs(t, home, tasks.NonceOf(home.net.ID(), tasks.NonceSalt{1}))
	d.loop.Post(claims(liar, id))
	until(t, "the liar is asked", func() bool {
		return d.jobs.Asking() == 1
	})
	d.loop.Post(claims(home.net, id))
	until(t, "the description is here, by which the liar's claim is none", func() bool {
		wrongs := wrongsOf(d)
		return wrongs[liar.ID()][string(engine.Unproven)] > 0 && wrongs[home.net.ID()] == nil
	})
	until(t, "nobody is asked any more", func() bool {
		return d.jobs.Asking() == 0
	})
}

// TestQuestionsHaveAnEnd: a member that never answers is asked for no longer than it may take.
func TestQuestionsHaveAnEnd(t *testing.T) {
	d := openAs(t, Config{Name: "host", Slots: 1, SignatureWait: 50 * time.Millisecond})
	defer d.Close()
	liar := mute(t, d)
	until(t, "it is up", func() bool { return len(d.cluster.Up()) == 1 })
	id := tasks.NameOf([]byte("nothing"))
	if _, err := d.jobs.Description(t.Context(), id, liar.ID()); !errors.Is(err, jobs.ErrSilent) {
		t.Errorf("asked in vain: %v", err)
	}
}

// fileOf is what a description says of a file at the least.
type fileOf struct {
	URL string `msgpack:"u"`
}

// fat has a job of a member described whose files take much more memory than bytes.
func fat(t *testing.T, by *Daemon, files int) tasks.JobID {
	t.Helper()
	job := struct {
		Protocol  int          `msgpack:"v"`
		Submitter tasks.PeerID `msgpack:"s"`
		Nonce     []byte       `msgpack:"x"`
		Data      struct {
			F []fileOf `msgpack:"f"`
		} `msgpack:"d"`
	}{Protocol: tasks.Protocol, Submitter: by.net.ID(), Nonce: tasks.NonceOf(by.net.ID(), tasks.NonceSalt{byte(files)})}
	job.Data.F = make([]fileOf, files)
	for i := range job.Data.F {
		job.Data.F[i].URL = "aaaaaaaaa"
	}
	body, err := wire.Marshal(&job)
	if err != nil {
		t.Fatal(err)
	}
	return by.handsOut(t, job.Nonce, body).ID()
}

// TestDescriptionsFindNoMoreRoomThanTheirSubmitters: a submitter's descriptions that take more memory than is its share
// are not decoded, and not fetched again; another's are. Who works for nobody takes none but its own.
func TestDescriptionsFindNoMoreRoomThanTheirSubmitters(t *testing.T) {
	d := openWithout(t, "host")
	defer d.Close()
	liar, other := admit(t, d, "liar", p2p.Submitter), admit(t, d, "other", p2p.Submitter)
	defer liar.Close()
	defer other.Close()
	until(t, "both are up", func() bool { return len(d.cluster.Up()) == 2 })
	fetch := func(by *Daemon, id tasks.JobID) error {
		_, err := d.jobs.Description(t.Context(), id, by.net.ID())
		return err
	}
	heavy := fat(t, liar, 4_000_000)
	d.hearsOf(liar, heavy)
	for range 2 {
		if err := fetch(liar, heavy); !errors.Is(err, engine.ErrHeavy) {
			t.Fatalf("a description of 4,000,000 files in 52 MB: %v", err)
		}
	}
	light := describedAs(t, other, tasks.NonceOf(other.net.ID(), tasks.NonceSalt{1}))
	d.hearsOf(other, light)
	if err := fetch(other, light); err != nil {
		t.Errorf("another's: %v", err)
	}
	j := d.jobs.Book().New("job")
	if d.jobs.NoteHeavy(j, engine.MaxDescribed+1); len(stateOf(j).Status.Notes) != 1 {
		t.Error("the user of such a job is not told:", stateOf(j).Status.Notes)
	}
	idle := admitAs(t, d, Config{Name: "idle"}, p2p.Worker)
	defer idle.Close()
	until(t, "it sees the other", func() bool { return slices.Contains(idle.cluster.Up(), other.net.ID()) })
	idle.hearsOf(other, light)
	idle.jobs.AskDescription(engine.Describe{ID: light, From: other.net.ID(), Submitter: other.net.ID()})
	idle.loop.Ask(func(p *engine.Peer) {
		if _, here := p.Jobs()[light]; here {
			t.Error("a node that works for nobody keeps another's job")
		}
	})
}
