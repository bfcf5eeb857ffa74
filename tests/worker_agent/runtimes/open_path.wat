;; Opens {path} below the first directory that it has, and writes what is in there, or `!` and a code.
(component
  (import "wasi:filesystem/types@0.2.0" (instance $types
    (export "descriptor" (type $descriptor (sub resource)))
    (type $codes' (enum
      "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist" "file-too-large"
      "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop"
      "too-many-links" "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory"
      "insufficient-space" "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty"
      "no-such-device" "overflow" "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy"
      "cross-device")
   ) (export "error-code" (type $codes (eq $codes')))
    (type $path' (flags "symlink-follow")) (export "path-flags" (type $path (eq $path')))
    (type $open' (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open (eq $open')))
    (type $how' (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync"
      "mutate-directory")) (export "descriptor-flags" (type $how (eq $how')))
    (export "[method]descriptor.open-at" (func (param "self" (borrow $descriptor)) (param "path-flags" $path)
      (param "path" string) (param "open-flags" $open) (param "flags" $how)
      (result (result (own $descriptor) (error $codes)))))
    (export "[method]descriptor.read" (func (param "self" (borrow $descriptor)) (param "length" u64)
      (param "offset" u64) (result (result (tuple (list u8) bool) (error $codes)))))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (alias outer 1 $descriptor (type $outer)) (export "descriptor" (type $mine (eq $outer)))
    (export "get-directories" (func (result (list (tuple (own $mine) string)))))))
  (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
  (alias export $errors "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error (type $e)) (export "error" (type $e' (eq $e)))
    (type $f (variant (case "last-operation-failed" (own $e')) (case "closed")))
    (export "stream-error" (type $f' (eq $f)))
    (export "output-stream" (type $output (sub resource)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output)) (param "contents" (list u8)) (result (result (error $f')))))))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output (type $o)) (export "output-stream" (type $o' (eq $o)))
    (export "get-stdout" (func (result (own $o'))))))
  (core module $room
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 4096))
    (data (i32.const 1024) "{path}")
    (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (global.get $next)
      (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get $size)) (i32.const 7))
        (i32.const -8)))))
  (core instance $room (instantiate $room))
  (alias core export $room "memory" (core memory $memory))
  (alias core export $room "realloc" (core func $realloc))
  (core func $dirs (canon lower (func $preopens "get-directories") (memory $memory) (realloc $realloc)))
  (core func $open (canon lower (func $types "[method]descriptor.open-at") (memory $memory)))
  (core func $read (canon lower (func $types "[method]descriptor.read") (memory $memory) (realloc $realloc)))
  (core func $stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory $memory)))
  (core module $main
    (import "host" "memory" (memory 2))
    (import "host" "dirs" (func $dirs (param i32)))
    (import "host" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "read" (func $read (param i32 i64 i64 i32)))
    (import "host" "stdout" (func $stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (func $tell (param $at i32) (param $size i32)
      (call $write (call $stdout) (local.get $at) (local.get $size) (i32.const 512)))
    (func $fail (param $code i32)
      (i32.store8 (i32.const 900) (i32.const 33))
      (i32.store8 (i32.const 901) (local.get $code))
      (call $tell (i32.const 900) (i32.const 2)))
    (func (export "run") (result i32)
      (call $dirs (i32.const 0))
      (if (i32.eqz (i32.load (i32.const 4)))
        (then (call $fail (i32.const 255)) (return (i32.const 0))))
      (call $open (i32.load (i32.load (i32.const 0))) (i32.const 1) (i32.const 1024) (i32.const {size})
        (i32.const {opening}) (i32.const {how}) (i32.const 16))
      (if (i32.load8_u (i32.const 16))
        (then (call $fail (i32.load8_u (i32.const 20))) (return (i32.const 0))))
      (call $read (i32.load (i32.const 20)) (i64.const 100) (i64.const 0) (i32.const 32))
      (if (i32.load8_u (i32.const 32))
        (then (call $fail (i32.load8_u (i32.const 36))) (return (i32.const 0))))
      (call $tell (i32.load (i32.const 36)) (i32.load (i32.const 40)))
      (i32.const 0)))
  (core instance $main (instantiate $main (with "host" (instance
    (export "memory" (memory $memory)) (export "dirs" (func $dirs)) (export "open" (func $open))
    (export "read" (func $read)) (export "stdout" (func $stdout)) (export "write" (func $write))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))
