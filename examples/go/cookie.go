package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
)

// A pair of keys, as pgstore's keyPairs: Block is nil if cookies are signed but not encrypted.
type keyPair struct{ Hash, Block []byte }

var errNoSession = errors.New("no session: the cookie is not ours, was altered, or is too old")

// The token that a cookie carries. A program that uses gorilla/securecookie writes this in one line:
//
//	err := securecookie.DecodeMulti(name, cookie, &token, securecookie.CodecsFromPairs(keys...)...)
func readCookie(name, cookie string, maxAge time.Duration, pairs []keyPair) (string, error) {
	for _, pair := range pairs {
		if token, err := readCookieWith(name, cookie, maxAge, pair); err == nil {
			return token, nil
		}
	}
	return "", errNoSession
}

// base64( time | base64(payload) | HMAC-SHA256 of "name|time|base64(payload)" ), where the payload is the token in Go's gob
// encoding, encrypted with AES-CTR if there is a block key.
func readCookieWith(name, cookie string, maxAge time.Duration, pair keyPair) (string, error) {
	raw, err := base64.URLEncoding.Strict().DecodeString(cookie)
	if err != nil {
		return "", errNoSession
	}
	parts := bytes.SplitN(raw, []byte("|"), 3) // the MAC may contain a "|" itself
	if len(parts) != 3 {
		return "", errNoSession
	}
	mac := hmac.New(sha256.New, pair.Hash)
	mac.Write([]byte(name + "|" + string(parts[0]) + "|" + string(parts[1])))
	if !hmac.Equal(mac.Sum(nil), parts[2]) {
		return "", errNoSession
	}
	signed, err := strconv.ParseInt(string(parts[0]), 10, 64)
	if err != nil || time.Since(time.Unix(signed, 0)) > maxAge {
		return "", errNoSession
	}
	payload, err := base64.URLEncoding.DecodeString(string(parts[1]))
	if err != nil {
		return "", errNoSession
	}
	if pair.Block != nil {
		block, err := aes.NewCipher(pair.Block)
		if err != nil || len(payload) <= aes.BlockSize {
			return "", errNoSession
		}
		iv := payload[:aes.BlockSize]
		payload = payload[aes.BlockSize:]
		cipher.NewCTR(block, iv).XORKeyStream(payload, payload)
	}
	var token string
	if err := gob.NewDecoder(bytes.NewReader(payload)).Decode(&token); err != nil {
		return "", errNoSession
	}
	return token, nil
}

// The session's key in the database. The token itself is never sent there.
func sessionKey(token string) []byte {
	key := sha256.Sum256([]byte(token))
	return key[:]
}

// "hash block hash block …" in hex, "-" for no block key: the order of keyPairs.
func parseKeys(text string) ([]keyPair, error) {
	var pairs []keyPair
	for i, word := range strings.Fields(text) {
		var key []byte
		if word != "-" {
			var err error
			if key, err = hex.DecodeString(word); err != nil {
				return nil, err
			}
		}
		if i%2 == 0 {
			pairs = append(pairs, keyPair{Hash: key})
		} else {
			pairs[len(pairs)-1].Block = key
		}
	}
	return pairs, nil
}
