package liar

import (
	"math"
	"reflect"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// parrot sends real traffic again, as it was or changed.
func parrot(l *Liar) (engine.Message, bool) {
	if len(l.heard) == 0 {
		return engine.Message{}, false
	}
	m := l.heard[l.rng.IntN(len(l.heard))]
	if !l.one(3) {
		m = l.changed(m)
	}
	return m, true
}

// babble is any message at all.
func babble(l *Liar) (m engine.Message, ok bool) {
	v := reflect.ValueOf(&m).Elem()
	i := 2 + l.rng.IntN(v.NumField()-2) // beside Job and Term
	l.fill(v.Field(i), 0)
	m.Job, m.Term = l.at.Job, l.term()
	return m, true
}

// changed is a copy of m with some of it altered.
func (l *Liar) changed(m engine.Message) (out engine.Message) {
	b, err := wire.Marshal(&m)
	if err != nil || wire.Unmarshal(b, &out) != nil {
		return m
	}
	for range 1 + l.rng.IntN(2) {
		var leaves []reflect.Value
		collect(reflect.ValueOf(&out).Elem(), &leaves)
		l.fill(leaves[l.rng.IntN(len(leaves))], 0)
	}
	return out
}

// collect lists what can be altered in v.
func collect(v reflect.Value, leaves *[]reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			collect(v.Elem(), leaves)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				collect(v.Field(i), leaves)
			}
		}
	case reflect.Slice:
		if v.Len() > 0 {
			*leaves = append(*leaves, v)
		}
		for i := range min(v.Len(), 4) {
			collect(v.Index(i), leaves)
		}
	default:
		*leaves = append(*leaves, v)
	}
}

// fill sets v to anything.
func (l *Liar) fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		l.fill(v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && !l.one(4) {
				l.fill(f, depth+1)
			}
		}
	case reflect.Slice:
		n := l.rng.IntN(4)
		s := reflect.MakeSlice(v.Type(), n, n)
		for i := range n {
			if depth < 6 {
				l.fill(s.Index(i), depth+1)
			}
		}
		v.Set(s)
	case reflect.String:
		v.SetString([]string{"", l.anybody(), string(l.at.Job), "x"}[l.rng.IntN(4)])
	case reflect.Bool:
		v.SetBool(l.one(2))
	case reflect.Float64:
		v.SetFloat([]float64{0, -1, 1, 1e300, math.NaN(), math.Inf(1)}[l.rng.IntN(6)])
	default:
		if v.CanInt() {
			v.SetInt(l.number())
		} else if v.CanUint() {
			v.SetUint(uint64(l.number()))
		}
	}
}

// number is one that may hurt.
func (l *Liar) number() int64 {
	w := l.at.Want
	at := w.First + l.rng.Int64N(max(w.Len(), 1))
	return []int64{0, 1, 2, -1, at, w.Last, w.Last + 1, 1 << 40, 1 << 62, math.MaxInt64, math.MinInt64}[l.rng.IntN(11)]
}

// anybody is a member, or now and then nobody.
func (l *Liar) anybody() tasks.PeerID {
	if l.one(12) || len(l.at.Peers) == 0 {
		return []tasks.PeerID{"", "nobody"}[l.rng.IntN(2)]
	}
	return l.at.Peers[l.rng.IntN(len(l.at.Peers))]
}

// term is one that the liar may claim to speak in.
func (l *Liar) term() uint64 {
	top := l.at.Term
	return []uint64{0, 1, top, top + 1, top + 2, 1 << 40, 1 << 61, 1 << 62}[l.rng.IntN(8)]
}
