package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/engine"
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
	m := quorum.SoleMandate(netKeys{by}, engine.GroupName(id), quorum.NewVoter(by.ID(), 1))
	return engine.Recv{
		From: by.ID(),
		Msg:  engine.Message{Job: id, Term: 1, Open: &engine.Open{Home: by.ID(), Every: time.Second, Proof: &m}},
	}
}

// hearsOf is when a member announces a job; nothing is done about it yet.
func (d *Daemon) hearsOf(by *Daemon, id tasks.JobID) {
	m := claims(by.net, id)
	d.ask(func(p *engine.Peer) { p.Step(d.now(), m) })
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
	d.post(claims(liar, id))
	until(t, "the liar is asked", func() bool {
		d.descriptions.mu.Lock()
		defer d.descriptions.mu.Unlock()
		return d.descriptions.of[id] != nil
	})
	d.post(claims(home.net, id))
	until(t, "the description is here, by which the liar's claim is none", func() bool {
		wrongs := wrongsOf(d)
		return wrongs[liar.ID()][string(engine.Unproven)] > 0 && wrongs[home.net.ID()] == nil
	})
	until(t, "nobody is asked any more", func() bool {
		d.descriptions.mu.Lock()
		defer d.descriptions.mu.Unlock()
		return len(d.descriptions.of) == 0
	})
}

// TestQuestionsHaveAnEnd: a member that never answers is asked for no longer than it may take.
func TestQuestionsHaveAnEnd(t *testing.T) {
	d := openWithout(t, "host")
	defer d.Close()
	liar := mute(t, d)
	until(t, "it is up", func() bool { return len(d.cluster.Up()) == 1 })
	d.cfg.SignatureWait = 50 * time.Millisecond
	id := tasks.NameOf([]byte("nothing"))
	q, leave := d.descriptions.join(t.Context(), id)
	_, err := d.fetchJob(q, id, liar.ID())
	if leave(); !errors.Is(err, errSilent) {
		t.Errorf("asked in vain: %v", err)
	}
}

// fileOf is what a description says of a file at the least.
type fileOf struct {
	URL string `msgpack:"u"`
}

// TestWeightOfADescription: what a description takes in memory is known before it is decoded, and not taken for much
// more.
func TestWeightOfADescription(t *testing.T) {
	type data[T any] struct {
		F []T `msgpack:"f"`
	}
	type job[T any] struct {
		D data[T]      `msgpack:"d"`
		B []tasks.Lost `msgpack:"b,omitempty"`
	}
	long := make([]tasks.File, 100_000)
	for i := range long {
		long[i] = tasks.File{URL: fmt.Sprint(strings.Repeat("u", 195), i), Part: "Events", Entries: 1 << 20,
			Clusters: []int64{0, 1 << 17, 1 << 18, 1 << 19}, Bytes: 1 << 30, UUID: strings.Repeat("i", 36)}
	}
	short := make([]fileOf, 1_000_000)
	for i := range short {
		short[i].URL = "aaaaaaaaa"
	}
	clusters := tasks.File{URL: "f", Clusters: make([]int64, 4_000_000)}
	for name, c := range map[string]struct {
		job  any
		most float64 // times what it takes, that it may be taken for
	}{
		"of long names":  {&job[tasks.File]{D: data[tasks.File]{F: long}}, 1.3},
		"of short names": {&job[fileOf]{D: data[fileOf]{F: short}}, 1.5},
		"of clusters":    {&job[tasks.File]{D: data[tasks.File]{F: []tasks.File{clusters}}}, 2.2},
	} {
		body, err := wire.Marshal(c.job)
		if err != nil {
			t.Fatal(err)
		}
		weight := float64(weightOf(body))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var desc tasks.Job
		if err := errors.Join(wire.Unmarshal(body, &desc), desc.Data.Index()); err != nil && name != "of clusters" &&
			name != "of short names" {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		took := float64(after.HeapAlloc) - float64(before.HeapAlloc)
		runtime.KeepAlive(&desc)
		runtime.KeepAlive(body)
		t.Logf("%s: %d bytes take %.1f MB and are taken for %.1f", name, len(body), took/1e6, weight/1e6)
		if took > weight || weight > c.most*took {
			t.Errorf("%s: %d bytes take %.1f MB and are taken for %.1f", name, len(body), took/1e6, weight/1e6)
		}
		if name == "of long names" && weight*6 > engine.MaxDescribed {
			t.Errorf("six jobs of 100,000 files take %.1f MB each", weight/1e6)
		}
	}
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
	return by.handsOut(t, job.Nonce, body).id
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
		q, leave := d.descriptions.join(t.Context(), id)
		defer leave()
		_, err := d.fetchJob(q, id, by.net.ID())
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
	j := d.book.New("job")
	if d.noteHeavy(j, engine.MaxDescribed+1); len(j.status.Notes) != 1 {
		t.Error("the user of such a job is not told:", j.status.Notes)
	}
	d.cfg.Slots = 0
	d.askDescription(engine.Describe{ID: light, From: other.net.ID(), Submitter: other.net.ID()})
	d.ask(func(p *engine.Peer) {
		if _, here := p.Jobs()[light]; here {
			t.Error("a node that works for nobody keeps another's job")
		}
	})
}
