# The commands of this project. `make` alone lists them; everything that takes more than a line lives in scripts/.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo explain run test lint bench release clean-data

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build, start the service with sample traffic, show one trace, go on serving (Ctrl-C ends it)
	@exec scripts/run-demo

demo: ## Build, run client, edge in Viceroy, Envoys and workloads on loopback, show three traces, end it all
	@exec scripts/run-chain

explain: ## Build, and read the sample logs: what joins, what fails, what is slow (no service, no store)
	@cargo build --release --locked --package throughline --bin throughline
	@cargo run --release --locked --quiet --package throughline --bin throughline -- explain tests/data/sample/*.ndjson tests/data/sample/*.log

test: ## Set up what the tests need and run them all
	@scripts/run-tests

lint: ## Formatting, clippy, rustdoc, and licences, bans and sources of dependencies
	cargo fmt --all --check
	cargo fmt --manifest-path edge/Cargo.toml --all --check
	cargo fmt --manifest-path crates/engine/sanitizer/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --package throughline-edge-token --all-targets --features tower --locked -- -D warnings
	cargo clippy --manifest-path edge/Cargo.toml --all-targets --locked -- -D warnings
	cargo clippy --manifest-path crates/engine/sanitizer/Cargo.toml --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
	exports="$$(scripts/setup-tests --lint)"; eval "$$exports"; "$$THROUGHLINE_CARGO_DENY" --locked check bans licenses sources && "$$THROUGHLINE_CARGO_DENY" --locked --manifest-path edge/Cargo.toml --config deny.toml check bans licenses sources

bench: ## Run the benches (compare only figures of one run)
	exports="$$(scripts/setup-tests)"; eval "$$exports"; cargo bench --workspace --locked

release: ## Build the archive that is handed out, its checksum, and the image where a docker engine runs
	@scripts/release

clean-data: ## Delete what `make run` stored (the data directory, nothing else)
	rm -rf -- data
