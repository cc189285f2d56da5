"""``python -m retrac_adapters.attributor_table``; the processes it starts import nothing of it."""

if __name__ == "__main__":
    from retrac_adapters.attributor_table.command import main

    main()
