package quorum

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/internal/mutant"
)

// storage is what raft reads back of the log. The founding voters stand before its first entry.
type storage struct {
	*raft.MemoryStorage
	hard raftpb.HardState
	conf raftpb.ConfState
}

// InitialState implements raft.Storage.
func (s *storage) InitialState() (raftpb.HardState, raftpb.ConfState, error) {
	return s.hard, s.conf, nil
}

// load checks a log and makes it raft's.
func load(log Log) (*storage, error) {
	if mutant.On(mutant.SkipLastRecord) && len(log.Entries) > 0 {
		log.Entries = log.Entries[:len(log.Entries)-1]
		log.Hard.Commit = min(log.Hard.Commit, uint64(len(log.Entries)))
	}
	if err := log.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	s := &storage{MemoryStorage: raft.NewMemoryStorage()}
	s.hard = raftpb.HardState{Term: log.Hard.Term, Vote: log.Hard.Vote, Commit: log.Hard.Commit}
	for _, m := range log.Voters {
		s.conf.Voters = append(s.conf.Voters, m.ID)
	}
	slices.Sort(s.conf.Voters)
	entries := make([]raftpb.Entry, len(log.Entries))
	for i, e := range log.Entries {
		entries[i] = raftpb.Entry{Index: e.Index, Term: e.Term, Type: raftpb.EntryType(e.Kind), Data: e.Data}
	}
	return s, s.Append(entries)
}

// check reports why a log cannot be what a replica wrote.
func (l Log) check() error {
	if !valid(l.Self) {
		return fmt.Errorf("its own member %x of peer %q is none", l.Self.ID, l.Self.Peer)
	}
	if len(l.Voters) == 0 {
		return fmt.Errorf("it names no founding voters")
	}
	seen := make(map[uint64]bool, len(l.Voters))
	for _, m := range l.Voters {
		if !valid(m) || seen[m.ID] {
			return fmt.Errorf("founding voter %x of peer %q is none, or is named twice", m.ID, m.Peer)
		}
		seen[m.ID] = true
	}
	var term uint64
	for i, e := range l.Entries {
		switch {
		case e.Index != uint64(i)+1:
			return fmt.Errorf("entry %d stands where entry %d is due", e.Index, i+1)
		case e.Term < max(term, 1) || e.Term > l.Hard.Term:
			return fmt.Errorf("entry %d is of term %d, after term %d, and the last term known is %d", e.Index, e.Term, term, l.Hard.Term)
		}
		term = e.Term
		if err := checkKind(raftpb.EntryType(e.Kind), e.Data); err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
	}
	if l.Hard.Commit > uint64(len(l.Entries)) {
		return fmt.Errorf("%d entries are committed, but there are %d", l.Hard.Commit, len(l.Entries))
	}
	if l.Hard.Term > maxTerm {
		return fmt.Errorf("term %d is beyond any", l.Hard.Term)
	}
	return nil
}

func valid(m Member) bool {
	return m.ID != raft.None && !raft.IsLocalMsgTarget(m.ID) && m.Peer != ""
}

// checkKind reports an entry that no replica writes.
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

// silent is raft's logger: what matters comes out as effects. Its panics are caught in Step.
type silent struct{}

func (silent) Debug(...any)            {}
func (silent) Debugf(string, ...any)   {}
func (silent) Info(...any)             {}
func (silent) Infof(string, ...any)    {}
func (silent) Warning(...any)          {}
func (silent) Warningf(string, ...any) {}
func (silent) Error(...any)            {}
func (silent) Errorf(string, ...any)   {}
func (silent) Fatal(v ...any)          { panic(fmt.Sprint(v...)) }
func (silent) Fatalf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}
func (silent) Panic(v ...any) { panic(fmt.Sprint(v...)) }
func (silent) Panicf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}
