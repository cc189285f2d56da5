"""``python -m tests.attributor_table``; the processes it starts import nothing of it."""

if __name__ == "__main__":
    from tests.attributor_table.command import main

    main()
