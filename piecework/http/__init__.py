"""HTTP on both sides: connections, requests and answers as data, a server process. It knows no Piecework."""
