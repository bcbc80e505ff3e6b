// A Go program that shares its visitors' sessions with a Node server: it verifies their cookie, reads the session that the
// server saved, and sets a value. It needs only the standard library and a driver for Postgres.
//
//	DATABASE_URL=postgres://… PGSTORE_KEYS='hash-key-in-hex block-key-in-hex-or-a-dash' go run . COOKIE-NAME COOKIE-VALUE
//
// With a go.mod: go mod init session && go mod tidy. On Debian without one: apt-get install golang-go golang-github-lib-pq-dev,
// and GO111MODULE=off GOPATH=/usr/share/gocode before "go run".
package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	_ "github.com/lib/pq"
)

type session struct {
	ID      int64           `json:"id"`
	UserID  *string         `json:"userId"`
	Data    json.RawMessage `json:"data"`
	Version int             `json:"version"`
}

// The live session with this key. Unknown and expired are the same: sql.ErrNoRows.
func get(db *sql.DB, key []byte) (session, error) {
	var s session
	var data []byte
	// "::bytea" selects the form for one key; there is another one for many keys.
	err := db.QueryRow(`select id, user_id, data, version from pgstore.session_get($1::bytea)`, key).
		Scan(&s.ID, &s.UserID, &data, &s.Version)
	s.Data = data
	return s, err
}

// Sets these values and leaves all others alone, even if another program changes them meanwhile. Returns "saved", or "gone" if
// the session was ended: a save never brings it back.
func save(db *sql.DB, key []byte, values map[string]any, ttl time.Duration) (string, error) {
	set, err := json.Marshal(values)
	if err != nil {
		return "", err
	}
	var status string
	err = db.QueryRow(
		`select status from pgstore.session_save($1::bytea, $2::jsonb, p_ttl => make_interval(secs => $3))`,
		key, string(set), ttl.Seconds(),
	).Scan(&status)
	return status, err
}

func run(name, cookie string) error {
	const maxAge = 30 * 24 * time.Hour // the server's options.maxAge
	keys, err := parseKeys(os.Getenv("PGSTORE_KEYS"))
	if err != nil {
		return errors.New("PGSTORE_KEYS must hold the keys in hex")
	}
	token, err := readCookie(name, cookie, maxAge, keys)
	if err != nil {
		return err
	}
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer db.Close()
	key := sessionKey(token)
	found, err := get(db, key)
	if errors.Is(err, sql.ErrNoRows) {
		return errNoSession
	}
	if err != nil {
		return err
	}
	status, err := save(db, key, map[string]any{"seenByGo": true}, maxAge)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"found": found, "status": status})
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go run . COOKIE-NAME COOKIE-VALUE")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
