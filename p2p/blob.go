package p2p

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// blobRequest asks for a blob by its SHA-256 in hexadecimal digits.
type blobRequest struct{ Hash string }

// blobReply comes before the Size bytes of the blob, or says why there are none.
type blobReply struct {
	Size    int64
	Missing bool
	Err     string
}

const blobChunk = 128 << 10

func validHash(h string) bool {
	b, err := hex.DecodeString(h)
	return err == nil && len(b) == sha256.Size && hex.EncodeToString(b) == h
}

// Fetch copies the blob with the given SHA-256 (64 hexadecimal digits) from a peer to dst and returns its size in
// bytes. What it has written may be used only if the error is nil: ErrHashMismatch is found at the end. ErrSlow means
// that the peer answered but sent too slowly.
func (n *Node) Fetch(ctx context.Context, from PeerID, hash string, max int64, dst io.Writer) (int64, error) {
	done, err := n.fetch(ctx, from, hash, max, dst)
	if err != nil {
		return done, fmt.Errorf("could not fetch blob %s from %s: %w", clip(hash), from, err)
	}
	return done, nil
}

func (n *Node) fetch(ctx context.Context, from PeerID, hash string, max int64, dst io.Writer) (int64, error) {
	if !validHash(hash) {
		return 0, errors.New("the hash is not 64 lower-case hexadecimal digits")
	}
	s, err := n.stream(ctx, from, "blob")
	if err != nil {
		return 0, err
	}
	defer s.Reset() //nolint:errcheck // all has been read, or nothing is wanted
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	var a blobReply
	err = s.SetDeadline(time.Now().Add(n.cfg.StallTimeout))
	if err == nil {
		err = writeValue(s, &blobRequest{Hash: hash})
	}
	if err == nil {
		err = readValue(s, frameSlack, &a)
	}
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case err != nil:
		return 0, n.slow(err)
	case a.Missing:
		return 0, ErrNotFound
	case a.Err != "":
		return 0, fmt.Errorf("%w: %s", ErrRemote, a.Err)
	case a.Size < 0 || a.Size > max:
		return 0, fmt.Errorf("%d bytes: %w: at most %d", a.Size, ErrTooLarge, max)
	}
	sum := sha256.New()
	done, err := n.copyChunks(io.MultiWriter(dst, sum), s, a.Size, s.SetReadDeadline)
	if ctx.Err() != nil {
		return done, context.Cause(ctx)
	}
	if err != nil {
		return done, n.slow(err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != hash {
		return done, ErrHashMismatch
	}
	return done, nil
}

// slow wraps an error that is a timeout as ErrSlow, and returns any other unchanged.
func (n *Node) slow(err error) error {
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return fmt.Errorf("%w: less than %d bytes in %v: %w", ErrSlow, blobPace, n.cfg.StallTimeout, err)
	}
	return err
}

// blobPace is how many bytes of a blob, or all that are left, must be transferred within StallTimeout. Otherwise a peer
// that sends, or takes, a byte now and then would hold a place for ever.
const blobPace = 2 * blobChunk

// copyChunks copies size bytes and renews the deadline whenever blobPace bytes have been transferred, so that a slow
// transfer goes on and a stuck one fails.
func (n *Node) copyChunks(
	w io.Writer, r io.Reader, size int64, deadline func(time.Time) error,
) (done int64, err error) {
	buf := n.chunks.Get().(*[]byte) //nolint:forcetypeassert // nothing else is put there
	defer n.chunks.Put(buf)
	for next := int64(0); done < size; {
		if done >= next {
			if err := deadline(time.Now().Add(n.cfg.StallTimeout)); err != nil {
				return done, err
			}
			next = done + blobPace
		}
		m, err := r.Read((*buf)[:min(size-done, blobChunk)])
		if m > 0 {
			if _, err := w.Write((*buf)[:m]); err != nil {
				return done, err
			}
			done += int64(m)
		}
		if err != nil && done < size {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return done, err
		}
	}
	return done, nil
}

// serveBlob sends one blob. At most blobSlots are sent at once, shared among the peers; others wait for a place.
func (n *Node) serveBlob(s network.Stream) {
	defer s.Reset() //nolint:errcheck // after Close it has no effect
	var q blobRequest
	if s.SetDeadline(time.Now().Add(n.cfg.StallTimeout)) != nil || readValue(s, frameSlack, &q) != nil {
		return
	}
	if !n.mayFetch(s.Conn().RemotePeer()) {
		_ = writeValue(s, &blobReply{Err: "blobs are for members that work, submit, read or administer"})
		_ = s.CloseWrite()
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.StallTimeout/2)
	defer cancel()
	place := n.blobs.acquire(ctx, s.Conn().RemotePeer(), n.cfg.StallTimeout/10, func() { _ = s.Reset() })
	if place == nil {
		_ = writeValue(s, &blobReply{Err: "too many blobs are being sent, try again"})
		_ = s.CloseWrite()
		return
	}
	defer n.blobs.release(place)
	blob, a := n.openBlob(q.Hash)
	if blob != nil {
		defer blob.Close()
	}
	if writeValue(s, &a) != nil {
		return
	}
	if blob != nil {
		if _, err := n.copyChunks(counted{s, &place.sent}, blob, a.Size, s.SetWriteDeadline); err != nil {
			n.log.Info("could not send a blob", "hash", q.Hash, "peer", s.Conn().RemotePeer().String(), "err", err)
			return
		}
	}
	_ = s.Close()
}

// mayFetch reports whether a member has a right that needs blobs. All blobs belong to jobs, so an inviter alone has no
// use for them.
func (n *Node) mayFetch(id peer.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc([]Right{Worker, Submitter, Read, Admin}, func(r Right) bool { return n.roster.has(id, r) })
}

// counted is a writer that adds the bytes written to n.
type counted struct {
	io.Writer
	n *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n.Add(int64(n))
	return n, err
}

func (n *Node) openBlob(hash string) (io.ReadSeekCloser, blobReply) {
	if n.cfg.Blobs == nil || !validHash(hash) {
		return nil, blobReply{Missing: true}
	}
	blob, size, err := n.cfg.Blobs.Open(hash)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, blobReply{Missing: true}
	case err != nil:
		text := err.Error()
		return nil, blobReply{Err: text[:min(len(text), frameSlack/2)]}
	}
	return blob, blobReply{Size: size}
}
