// Package secret handles secrets: sealing values before they are stored in the database,
// the file with the keys for that, and API keys, of which the database has only hashes.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
)

// KeySize is the size of a Key in bytes: AES-256.
const KeySize = 32

// Key is a key that seals secrets.
type Key [KeySize]byte

// String returns the key's id, so that no log or error contains the key itself.
func (k Key) String() string {
	id := k.id()
	return "key " + hex.EncodeToString(id[:])
}

// keyID identifies a key without revealing it: the first bytes of the key's SHA-256.
type keyID [4]byte

func (k Key) id() keyID {
	sum := sha256.Sum256(k[:])
	return keyID(sum[:4])
}

// ErrKeyMissing says that a secret is whole as far as can be seen, and its key is not at hand.
var ErrKeyMissing = errors.New("which is not in the key file")

// version is the first byte of every sealed secret, whose form is
//
//	version | key id (4) | nonce (12) | AES-256-GCM ciphertext and tag
const version = 1

// Box seals and opens secrets. It is safe for concurrent use.
type Box struct {
	ring atomic.Pointer[ring]
	file *keyFile // the file with the keys; nil for a Box with fixed keys
}

// ring is the set of keys at one time.
type ring struct {
	seals keyID
	keys  map[keyID]cipher.AEAD
}

// NewBox returns a Box that seals with the first key and opens what any of the keys has
// sealed. Without a key it panics.
func NewBox(keys ...Key) *Box {
	if len(keys) == 0 {
		panic("secret: a box without a key")
	}
	b := new(Box)
	b.ring.Store(newRing(keys))
	return b
}

func newRing(keys []Key) *ring {
	b := &ring{seals: keys[0].id(), keys: make(map[keyID]cipher.AEAD, len(keys))}
	for _, k := range keys {
		block, err := aes.NewCipher(k[:])
		if err != nil {
			panic(fmt.Sprintf("secret: a key of %d bytes: %v", len(k), err))
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			panic(fmt.Sprintf("secret: AES without GCM: %v", err))
		}
		b.keys[k.id()] = aead
	}
	return b
}

// prefixSize is the length of the common prefix of all secrets sealed with one key.
const prefixSize = 1 + len(keyID{})

func (r *ring) prefix() []byte { return append([]byte{version}, r.seals[:]...) }

// Prefix returns the common prefix of all secrets sealed with the present key.
func (b *Box) Prefix() []byte { return b.ring.Load().prefix() }

// Seal encrypts and authenticates plain. context says what the secret belongs to; it is
// authenticated but not stored, so Open needs the same context.
func (b *Box) Seal(plain, context []byte) []byte {
	r := b.ring.Load()
	aead := r.keys[r.seals]
	sealed := make([]byte, 0, prefixSize+aead.NonceSize()+len(plain)+aead.Overhead())
	sealed = append(sealed, r.prefix()...)
	nonce := sealed[len(sealed) : len(sealed)+aead.NonceSize()]
	rand.Read(nonce) // never fails, by its documentation
	return aead.Seal(sealed[:len(sealed)+len(nonce)], nonce, plain, context)
}

// Opens returns an error unless there is the key that a secret was sealed with: ErrKeyMissing, or
// another if the secret is damaged. It needs only the secret's prefix.
func (b *Box) Opens(prefix []byte) error {
	_, err := b.aead(prefix)
	return err
}

// aead returns what opens a secret.
func (b *Box) aead(sealed []byte) (cipher.AEAD, error) {
	if len(sealed) < prefixSize || sealed[0] != version {
		return nil, errors.New("the secret is not of a form that this version knows")
	}
	id := keyID(sealed[1:prefixSize])
	aead, ok := b.ring.Load().keys[id]
	if !ok {
		// Another node may have read the changed key file before this one.
		if changed, err := b.Reload(); changed && err == nil {
			aead, ok = b.ring.Load().keys[id]
		}
	}
	if !ok {
		return nil, fmt.Errorf("the secret was sealed with key %s, %w", hex.EncodeToString(id[:]), ErrKeyMissing)
	}
	return aead, nil
}

// Open returns the plain text of a sealed secret. An error says which key is missing, or
// that the secret is damaged or belongs to another context.
func (b *Box) Open(sealed, context []byte) ([]byte, error) {
	aead, err := b.aead(sealed)
	if err != nil {
		return nil, err
	}
	rest := sealed[prefixSize:]
	if len(rest) < aead.NonceSize() {
		return nil, errors.New("the secret is cut short")
	}
	plain, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], context)
	if err != nil {
		return nil, errors.New("the secret has been altered, or belongs to something else")
	}
	return plain, nil
}
