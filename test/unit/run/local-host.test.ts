import { LocalHost } from '../../../src/run/local-host.ts';
import { testHostContract } from '../../support/host-contract.ts';

testHostContract(() => new LocalHost());
