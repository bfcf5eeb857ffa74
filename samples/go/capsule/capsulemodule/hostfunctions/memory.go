package hostfunctions

import (
	"errors"
	"strconv"
	"strings"
	"unsafe"
)

// errorMark begins what an error is told with; the number is its code, which is 0 here.
const errorMark = "[ERR][0]:"

// held keeps what the host writes to, and what it reads, until it was used.
var (
	held   = map[unsafe.Pointer][]byte{}
	answer []byte
)

func hold(size uint32) unsafe.Pointer {
	room := make([]byte, max(1, size))
	pointer := unsafe.Pointer(&room[0])
	held[pointer] = room
	return pointer
}

//go:wasmexport malloc
func malloc(size uint32) unsafe.Pointer { return hold(size) }

//go:wasmexport free
func free(pointer unsafe.Pointer) { delete(held, pointer) }

//go:wasmexport allocateBuffer
func allocateBuffer(size uint32) unsafe.Pointer { return hold(size) }

// take returns a text that the host wrote.
func take(pointer unsafe.Pointer, size uint32) string {
	text := string(unsafe.Slice((*byte)(pointer), size))
	free(pointer)
	return text
}

// give returns where the answer of a call is, which stays there.
func give(text string) uint64 {
	answer = append([]byte(text), 0)
	return uint64(uintptr(unsafe.Pointer(&answer[0])))<<32 | uint64(len(text))
}

func giveError(err error) uint64 { return give(errorMark + err.Error()) }

// place returns where the host finds a text, which must be kept alive until it was used.
func place(text string) (unsafe.Pointer, uint32) {
	if text == "" {
		text = "\x00"[:1]
		return unsafe.Pointer(unsafe.StringData(text)), 0
	}
	return unsafe.Pointer(unsafe.StringData(text)), uint32(len(text))
}

// cells is where the host says where its answer is.
type cells struct {
	pointer uint32
	size    uint32
}

func (cells *cells) text() string {
	return take(unsafe.Pointer(uintptr(cells.pointer)), cells.size)
}

// result returns an answer, or the error that it is.
func (cells *cells) result() (string, error) {
	text := cells.text()
	rest, found := strings.CutPrefix(text, "[ERR][")
	if !found {
		return text, nil
	}
	code, message, _ := strings.Cut(rest, "]:")
	if number, err := strconv.Atoi(code); err == nil && number != 0 {
		message += " (" + code + ")"
	}
	return "", errors.New(message)
}
