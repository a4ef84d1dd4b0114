package quorum

import (
	"cmp"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/internal/mutant"
)

// storage is the written log as raft reads it. The founding voters are its state before the first entry.
type storage struct {
	*raft.MemoryStorage
	hard raftpb.HardState
	conf raftpb.ConfState

	voters  func() map[uint64]struct{} // the voters in raft's current configuration
	lacking bool                       // raft wanted a snapshot for a voter that the present one does not name
}

// InitialState implements raft.Storage.
func (s *storage) InitialState() (raftpb.HardState, raftpb.ConfState, error) {
	return s.hard, s.conf, nil
}

// load checks a log and makes raft's storage of it.
func load(log Log) (*storage, error) {
	if mutant.On(mutant.SkipLastRecord) && len(log.Entries) > 0 {
		log.Entries = log.Entries[:len(log.Entries)-1]
		log.Hard.Commit = min(log.Hard.Commit, log.last())
	}
	if err := log.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	s := &storage{MemoryStorage: raft.NewMemoryStorage()}
	s.hard = raftpb.HardState{Term: log.Hard.Term, Vote: log.Hard.Vote, Commit: log.Hard.Commit}
	s.conf.Voters = ids(byID(log.Voters))
	if snap := log.Snapshot; snap != nil {
		c, err := decodeContent(snap.Data)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		s.conf = c.conf()
		return s, s.fill(log)
	}
	return s, s.Append(raftEntries(log.Entries))
}

// fill loads a log that begins after the base of a snapshot.
func (s *storage) fill(log Log) error {
	snap := log.Snapshot
	if snap.Base > 0 {
		at := raftpb.SnapshotMetadata{Index: snap.Base, Term: snap.BaseTerm, ConfState: s.conf}
		if err := s.ApplySnapshot(raftpb.Snapshot{Metadata: at, Data: snap.Data}); err != nil {
			return err
		}
	}
	if err := s.Append(raftEntries(log.Entries)); err != nil || snap.Index == snap.Base {
		return err
	}
	_, err := s.CreateSnapshot(snap.Index, &s.conf, snap.Data)
	return err
}

// Keep updates l to what the disk holds after the write w. The slices that l had are not modified.
func (l *Log) Keep(w Write) {
	if s := w.Snapshot; s != nil {
		drop := uint64(len(l.Entries))
		if !w.Reset {
			drop = min(drop, s.Base-min(s.Base, l.base()))
		}
		l.Snapshot, l.Entries = s, l.Entries[drop:]
	}
	if len(w.Entries) > 0 {
		at := w.Entries[0].Index - 1 - l.base()
		l.Entries = append(l.Entries[:at:at], w.Entries...)
	}
	l.Hard = w.Hard
}

// base is the index of the last entry that was dropped from the log, 0 if none was.
func (l Log) base() uint64 {
	if l.Snapshot == nil {
		return 0
	}
	return l.Snapshot.Base
}

// last is the index of the last entry of the log.
func (l Log) last() uint64 { return l.base() + uint64(len(l.Entries)) }

func raftEntries(in []Entry) []raftpb.Entry {
	entries := make([]raftpb.Entry, len(in))
	for i, e := range in {
		entries[i] = raftpb.Entry{Index: e.Index, Term: e.Term, Type: raftpb.EntryType(e.Kind), Data: e.Data}
	}
	return entries
}

// check reports why a log cannot be what a replica wrote.
func (l Log) check() error {
	if !valid(l.Self) {
		return fmt.Errorf("its own voter %x of peer %q is invalid", l.Self.ID, l.Self.Peer)
	}
	if len(l.Voters) == 0 {
		return fmt.Errorf("it names no founding voters")
	}
	seen := make(map[uint64]bool, len(l.Voters))
	for _, m := range l.Voters {
		if !valid(m) || seen[m.ID] {
			return fmt.Errorf("founding voter %x of peer %q is invalid, or is named twice", m.ID, m.Peer)
		}
		seen[m.ID] = true
	}
	if l.Snapshot != nil {
		if err := l.Snapshot.check(l.last(), l.Hard); err != nil {
			return err
		}
	}
	if err := l.checkEntries(); err != nil {
		return err
	}
	if l.Hard.Commit > l.last() {
		return fmt.Errorf("%d entries are committed, but there are %d", l.Hard.Commit, l.last())
	}
	if l.Hard.Term > maxTerm {
		return fmt.Errorf("term %d is beyond all possible terms", l.Hard.Term)
	}
	return nil
}

func (l Log) checkEntries() error {
	var term uint64
	if l.Snapshot != nil {
		term = l.Snapshot.BaseTerm
	}
	for i, e := range l.Entries {
		due := l.base() + uint64(i) + 1
		switch {
		case e.Index != due:
			return fmt.Errorf("entry %d stands where entry %d is due", e.Index, due)
		case l.Snapshot != nil && e.Index == l.Snapshot.Index && e.Term != l.Snapshot.Term:
			return fmt.Errorf("entry %d is of term %d, and of term %d in the snapshot", e.Index, e.Term, l.Snapshot.Term)
		case e.Term < max(term, 1) || e.Term > l.Hard.Term:
			return fmt.Errorf("entry %d is of term %d, after term %d, and the last term known is %d", e.Index, e.Term, term,
				l.Hard.Term)
		}
		term = e.Term
		if err := checkKind(raftpb.EntryType(e.Kind), e.Data); err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
	}
	return nil
}

// byID puts voters in the order of their IDs.
func byID(ms []Voter) []Voter {
	return slices.SortedFunc(slices.Values(ms), func(a, b Voter) int { return cmp.Compare(a.ID, b.ID) })
}

func valid(m Voter) bool {
	return m.ID != raft.None && !raft.IsLocalMsgTarget(m.ID) && m.Peer != ""
}

// checkKind reports why no replica writes an entry of this kind and data.
func checkKind(kind raftpb.EntryType, data []byte) error {
	switch kind {
	case raftpb.EntryNormal:
		return nil
	case raftpb.EntryConfChangeV2:
		_, _, err := decodeChange(data)
		return err
	}
	return fmt.Errorf("its kind %d is unknown", kind)
}

// noLogger is raft's logger, which discards everything: what matters is emitted as effects. Step recovers its panics.
type noLogger struct{}

func (noLogger) Debug(...any)            {}
func (noLogger) Debugf(string, ...any)   {}
func (noLogger) Info(...any)             {}
func (noLogger) Infof(string, ...any)    {}
func (noLogger) Warning(...any)          {}
func (noLogger) Warningf(string, ...any) {}
func (noLogger) Error(...any)            {}
func (noLogger) Errorf(string, ...any)   {}
func (noLogger) Fatal(v ...any)          { panic(fmt.Sprint(v...)) }
func (noLogger) Fatalf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}
func (noLogger) Panic(v ...any) { panic(fmt.Sprint(v...)) }
func (noLogger) Panicf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}
