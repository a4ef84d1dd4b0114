package wire_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/wire"
)

type inner struct {
	First, Last int64
	Tags        []string
}

type message struct {
	Name  string
	Blob  []byte
	Sum   [4]byte
	Units []int64
	Parts []inner
	By    map[string]int64
	Rate  float64
	Up    bool
	Next  *inner
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	in := message{
		Name: "h", Blob: []byte{1, 2}, Sum: [4]byte{9}, Units: []int64{-1, 1 << 40},
		Parts: []inner{{1, 2, []string{"a"}}}, By: map[string]int64{"x": 1, "a": 2, "m": 3},
		Rate: 1.5, Up: true, Next: &inner{First: 3},
	}
	b, err := wire.Marshal(&in)
	if err != nil {
		t.Fatal(err)
	}
	var out message
	if err := wire.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, out); d != "" {
		t.Error(d)
	}
	in.By = nil
	if b, err = wire.Marshal(&in); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := wire.Marshal(&in)
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("the same struct gave other bytes: %x, %x, %v", b, again, err)
		}
	}
}

func TestUnknownFieldIsSkipped(t *testing.T) {
	type newer struct {
		First int64
		Added map[string][]int64
		Last  int64
	}
	b, err := wire.Marshal(newer{First: 1, Added: map[string][]int64{"a": {1, 2}}, Last: 2})
	if err != nil {
		t.Fatal(err)
	}
	var got inner
	if err := wire.Unmarshal(b, &got); err != nil || got.First != 1 || got.Last != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMarshalFailure(t *testing.T) {
	if _, err := wire.Marshal(struct{ C chan int }{make(chan int)}); err == nil {
		t.Error("a channel was encoded")
	}
}

func TestCheck(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("91", n) + "c0" }
	good := map[string]string{
		"nil": "c0", "fixint": "7f", "negative": "ff", "float64": "cb 0000000000000000",
		"empty map": "80", "empty array32": "dd 00000000", "str8": "d9 01 61", "bin16": "c5 0001 00",
		"ext8": "c7 02 05 0102", "fixext16": "d8 01" + strings.Repeat("00", 16),
		"map16": "de 0001 a161 01", "nested": "92 91 01 81 a161 90", "deepest": deep(16),
		"ext8 empty": "c7 00 05",
	}
	for name, s := range good {
		t.Run(name, func(t *testing.T) {
			if err := wire.Check(unhex(s)); err != nil {
				t.Errorf("%s: %v", s, err)
			}
		})
	}
	bad := map[string]string{
		"nothing": "", "unused type": "c1", "hostile array32": "dd ffffffff 01",
		"hostile map32": "df ffffffff 01", "hostile str32": "db ffffffff 61", "hostile bin32": "c6 ffffffff 00",
		"hostile ext32": "c9 ffffffff 01 00", "cut head": "dd ffff", "cut ext type": "c7 00", "cut fixext": "d4",
		"cut fixext body": "d4 01", "cut int": "d3 00", "cut str": "a2 61", "two values": "01 02",
		"cut array": "92 01", "cut map": "81 a161", "too deep": deep(17), "very deep": deep(100000),
		"stuffed with nils":       "dc 0200" + strings.Repeat("c0", 512),
		"stuffed with maps":       "dc 0200" + strings.Repeat("80", 512),
		"stuffed with small maps": "dc 0200" + strings.Repeat("81a16101", 512),
		"stuffed further in":      "81 a161 92 91 01 dc 0200" + strings.Repeat("de0000", 512),
		// Each inner length alone fits what is left, all together do not.
		"spread lengths":    "92 dc0004 dc0004 01 02",
		"siblings overlap":  "93 93 01 02 03 04",
		"garbage after map": "80 00",
	}
	for name, s := range bad {
		t.Run(name, func(t *testing.T) {
			b := unhex(s)
			if err := wire.Check(b); !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("Check: %v", err)
			}
			if err := wire.Unmarshal(b, new(message)); !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("Unmarshal: %v", err)
			}
		})
	}
}

func TestUnmarshalWrongType(t *testing.T) {
	for _, s := range []string{"01", "a161", "81 a4 4e616d65 90", "81 01 02", "83 a4 4e616d65 c3 c0 c0 90 80"} {
		if err := wire.Unmarshal(unhex(s), new(message)); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", s, err)
		}
	}
	if err := wire.Unmarshal(unhex("80"), message{}); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a target that is no pointer: %v", err)
	}
}

type exploding struct{}

func (*exploding) DecodeMsgpack(*msgpack.Decoder) error { panic("boom") }
func (exploding) EncodeMsgpack(*msgpack.Encoder) error  { panic("boom") }

func TestPanicIsAnError(t *testing.T) {
	if err := wire.Unmarshal([]byte{0x80}, new(exploding)); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("Unmarshal: %v", err)
	}
	if _, err := wire.Marshal(exploding{}); err == nil {
		t.Error("Marshal hid a panic")
	}
}

func TestCheckAcceptsWhatMarshalWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := message{
			Name: rapid.String().Draw(t, "name"), Blob: rapid.SliceOf(rapid.Byte()).Draw(t, "blob"),
			Units: rapid.SliceOf(rapid.Int64()).Draw(t, "units"), Rate: rapid.Float64().Draw(t, "rate"),
			By: rapid.MapOf(rapid.String(), rapid.Int64()).Draw(t, "by"),
		}
		for range rapid.IntRange(0, 40).Draw(t, "parts") {
			in.Parts = append(in.Parts, inner{Tags: rapid.SliceOf(rapid.String()).Draw(t, "tags")})
		}
		b, err := wire.Marshal(&in)
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.Check(b); err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if err := wire.Check(b[:cut]); !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("cut at %d of %x: %v", cut, b, err)
		}
	})
}

func FuzzUnmarshal(f *testing.F) {
	for _, s := range []string{"dd ffffffff 01", "df ffffffff 01", "c6 ffffffff", strings.Repeat("91", 64),
		strings.Repeat("81", 64), "81 a5 5061727473 dd 00000005 80 80 80 80 80", "c1", "80", ""} {
		f.Add(unhex(s))
	}
	whole, err := wire.Marshal(&message{Name: "n", Parts: []inner{{1, 2, []string{"a"}}}, Next: &inner{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, b []byte) {
		if structs, others := wire.Lists(b); structs+others > len(b) {
			t.Fatalf("%d bytes have %d elements", len(b), structs+others)
		}
		var m message
		err := wire.Unmarshal(b, &m)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if n := len(m.Units) + len(m.Parts) + len(m.By) + len(m.Blob) + len(m.Name); n > len(b) {
			t.Fatalf("%d elements out of %d bytes", n, len(b))
		}
		again, err := wire.Marshal(&m)
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.Check(again); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFrames(t *testing.T) {
	var buf bytes.Buffer
	sizes := []int{0, 1, 100, 16 << 10, 16<<10 + 1, 300_000}
	for _, n := range sizes {
		if err := wire.WriteFrame(&buf, bytes.Repeat([]byte{byte(n)}, n)); err != nil {
			t.Fatal(err)
		}
	}
	r := iotest.HalfReader(&buf)
	for _, n := range sizes {
		b, err := wire.ReadFrame(r, 300_000)
		if err != nil || !bytes.Equal(b, bytes.Repeat([]byte{byte(n)}, n)) {
			t.Fatalf("frame of %d bytes: %d bytes, %v", n, len(b), err)
		}
	}
	if _, err := wire.ReadFrame(r, 10); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestReadFrameRefuses(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		r    io.Reader
		want error
	}{
		"over the limit": {bytes.NewReader(unhex("00000011 00")), wire.ErrFrameTooLarge},
		"far over":       {bytes.NewReader(unhex("ffffffff")), wire.ErrFrameTooLarge},
		"cut header":     {bytes.NewReader(unhex("0000")), io.ErrUnexpectedEOF},
		"no body":        {bytes.NewReader(unhex("00000002")), io.ErrUnexpectedEOF},
		"cut body":       {bytes.NewReader(unhex("00000002 01")), io.ErrUnexpectedEOF},
		"read error":     {io.MultiReader(bytes.NewReader(unhex("00000002")), iotest.ErrReader(boom)), boom},
	} {
		t.Run(name, func(t *testing.T) {
			if b, err := wire.ReadFrame(c.r, 16); !errors.Is(err, c.want) || b != nil {
				t.Errorf("%x, %v", b, err)
			}
		})
	}
}

// A peer that declares a large frame and sends nothing must not cost a large buffer.
func TestDeclaredLengthAllocatesLittle(t *testing.T) {
	const declared = 16 << 20
	h := binary.BigEndian.AppendUint32(nil, declared)
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := wire.ReadFrame(bytes.NewReader(h), declared); !errors.Is(err, io.ErrUnexpectedEOF) {
				b.Fatal(err)
			}
		}
	})
	if r.AllocedBytesPerOp() > 64<<10 {
		t.Errorf("a header alone cost %d bytes", r.AllocedBytesPerOp())
	}
}

func TestWriteFrameFailure(t *testing.T) {
	for _, n := range []int{10, 100_000} {
		pr, pw := io.Pipe()
		boom := errors.New("boom")
		go func() {
			_, _ = io.CopyN(io.Discard, pr, 4)
			_ = pr.CloseWithError(boom)
		}()
		if err := wire.WriteFrame(pw, make([]byte, n)); !errors.Is(err, boom) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func FuzzReadFrame(f *testing.F) {
	for _, s := range []string{"ffffffff", "00000000", "00000001 ff", "0100 0000 00", ""} {
		f.Add(unhex(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := wire.ReadFrame(bytes.NewReader(b), 1<<20)
		if err != nil {
			return
		}
		var back bytes.Buffer
		if err := wire.WriteFrame(&back, got); err != nil || !bytes.HasPrefix(b, back.Bytes()) {
			t.Fatalf("%x came back as %x, %v", b, back.Bytes(), err)
		}
	})
}

func BenchmarkUnmarshal(b *testing.B) {
	in := message{Name: "name", Blob: make([]byte, 100), Units: make([]int64, 50), Parts: make([]inner, 10)}
	raw, err := wire.Marshal(&in)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if err := wire.Check(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			if err := wire.Unmarshal(raw, new(message)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
