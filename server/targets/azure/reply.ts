import type { AzureGrant } from '../../policy/grant.ts'
import type { MintRefusal, SealedAzure, Target } from '../target.ts'

export type AzureRefusal = MintRefusal & { readonly target: 'azure' }
export type AzureTarget = Target<AzureGrant, SealedAzure>
